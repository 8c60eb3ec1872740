package cloudevents_test

import (
	"fmt"
	"maps"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

func Example() {
	env := &sixfold.Envelope{
		ID: "01946a2f-0000-7000-8000-000000000001", Source: "shop", Type: "orders.placed", Key: "o-1",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ContentType: "application/json",
		Headers: map[string]string{"tenant": "blue", "X-Request": "7"}, Body: []byte(`{"total":9007199254740993}`),
	}
	data, err := cloudevents.Marshal(env)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", data)

	back, err := cloudevents.Unmarshal(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %s\n", back.Key, back.Body)

	_, err = cloudevents.Unmarshal([]byte(`{"id":"a","ID":"b","id":"c"}`))
	fmt.Println(err)
	// Output:
	// {"specversion":"1.0","id":"01946a2f-0000-7000-8000-000000000001","source":"shop","type":"orders.placed","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","partitionkey":"o-1","sixfoldheaders":"X-Request=7","tenant":"blue","data":{"total":9007199254740993}}
	// o-1 {"total":9007199254740993}
	// cloudevents: read event: invalid attribute "ID": the name breaks the rules; it must have 1 to 128 lower-case letters and digits and not be "data"
}

func ExampleBinding() {
	binding := cloudevents.NATS() // once for each driver
	env := &sixfold.Envelope{ID: "1", Source: "shop", Type: "orders.placed", Subject: "Zoë", Headers: map[string]string{"tenant": "blue"}, Body: []byte("{}")}

	headers, err := binding.AppendHeaders(nil, env)
	if err != nil {
		fmt.Println(err)
		return
	}
	message := map[string]string{}
	for _, h := range headers {
		fmt.Printf("%s: %s\n", h.Name, h.Value)
		message[h.Name] = h.Value
	}

	var received sixfold.Envelope
	if err := binding.Read(&received, maps.All(message), env.Body); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(received.Type, received.Subject, received.Headers)
	// Output:
	// ce-specversion: 1.0
	// ce-id: 1
	// ce-source: shop
	// ce-type: orders.placed
	// ce-subject: Zo%C3%AB
	// tenant: blue
	// orders.placed Zoë map[tenant:blue]
}
