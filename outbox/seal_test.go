package outbox_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// What is sealed is what is written: each destination, delayed or not, has what Seal saw and left.
func TestSealSeesTheEnvelopeAsItIsWritten(t *testing.T) {
	db := outbox.NewFakeDB()
	var fail error
	box, err := outbox.New(db, &outbox.Options{Seal: func(env *sixfold.Envelope) error {
		if env.Issuer() != "" {
			t.Error("what is published here has the issuer of what was received")
		}
		headers := map[string]string{"sealed": env.ID + " " + env.Key + " " + env.Subject + " " + env.Expires.Format(time.RFC3339Nano)}
		for k, v := range env.Headers {
			headers[k] = v
		}
		env.Headers = headers
		return fail
	}}, outbox.To("orders", placed{}), outbox.ToConsumer("shipping", placed{}))
	if err != nil {
		t.Fatal(err)
	}
	tx := db.Begin()
	id := strings.ToUpper(sixfold.NewID())
	if _, err := box.Publish(t.Context(), tx.Tx(), placed{"7"}, outbox.ID(id), outbox.Subject("s"), outbox.Expires(time.Hour), outbox.Header("a", "1")); err != nil {
		t.Fatal(err)
	}
	forwarded := &sixfold.Envelope{ID: sixfold.NewID(), Source: "elsewhere", Type: "orders.placed"}
	forwarded.SetIssuer("elsewhere")
	if err := box.PublishEnvelope(t.Context(), tx.Tx(), forwarded); err != nil || forwarded.Headers != nil || forwarded.Issuer() != "elsewhere" {
		t.Error(err, forwarded.Headers)
	}
	_ = tx.Commit()
	got := rows(db)
	if len(got) != 4 {
		t.Fatalf("%d rows", len(got))
	}
	for _, r := range got {
		env := sixfold.Envelope{ID: r.ID}
		if _, err := outbox.DecodeAttrs(r.Attrs, &env); err != nil {
			t.Fatal(err)
		}
		want := r.ID + " " + r.Key + " " + env.Subject + " " + env.Expires.Format(time.RFC3339Nano)
		if env.Headers["sealed"] != want || env.Subject == "s" && (env.Headers["a"] != "1" || r.ID != strings.ToLower(id)) || env.Issuer() != "" {
			t.Errorf("%v, want %q", env.Headers, want)
		}
	}
	_, plain, _, err := box.Rows(t.Context(), outbox.Of(placed{"9"}, outbox.Unsealed()))
	if err != nil || len(plain) != 1 || strings.Contains(string(plain[0].Attrs), "sealed") {
		t.Errorf("%v, %v", plain, err)
	}
	fail = errors.New("there is no key")
	if _, err := box.Publish(t.Context(), db.Begin().Tx(), placed{"8"}); !errors.Is(err, fail) {
		t.Error(err)
	}
}
