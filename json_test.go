package sixfold_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

// tree has all that package json decodes by itself.
type tree struct {
	Name   string            `json:"name"`
	N      int8              `json:",omitempty"`
	Ratio  float64           `json:",string"`
	Right  *tree             `json:"right"`
	Tags   map[string]string `json:"tags"`
	Counts map[int]bool
	Leaves []tree
	Bytes  []byte
	Raw    json.RawMessage
	At     time.Time
	Number json.Number
	hidden any //lint:ignore U1000 that nobody can set is what it is for
}

// wild has a method of its own and an interface.
type wild struct {
	Big *big.Int
	Any any
}

var jsonBodies = []string{
	`{"name":"a","right":{"name":"b\u00e9","Leaves":[{},{"N":1}]},"tags":{"x":"y"},"Counts":{"7":true},"Bytes":"AAEC","Raw":{"z":[1, 2]},"At":"2026-11-23T01:02:03.5Z","Number":12.50,"Ratio":"0.5"}`,
	`{"Big":123456789012345678901234567890,"Any":{"x":[1,"2",null]}}`,
	`{}`, `null`, `true`, `17`, `-1.5e3`, `"text"`, `[]`, `[1,2,3]`, `["a"]`, ` {"name":"spaces"} `, "{\"name\":\"line\"}\n", "\r\n\t{}\t\r\n",
	``, ` `, `{`, `}`, `{"name":"a"}}`, `{"name":"a"}]`, `{"name":"a"} {"name":"b"}`, `{"name":"a"}x`, `17 18`, `17,`, `1.`, `nul`, `"text`, `{"name":}`, `{"name":1}`,
	`{"N":300,"name":"kept"}`, `{"tags":{"x":1},"name":"b"}`, `{"Bytes":"?"}`, `{"At":"yesterday"}`, `{"Raw":}`, "{\"name\":\"\xff\"}", "\ufeff{}", "{}\u00a0", "{}\x00",
	`{"name":"` + strings.Repeat("x", 3000) + `"}`, `{"name":"` + strings.Repeat("y", 40_000) + `"}`, `{"Leaves":[` + strings.Repeat(`{"N":1},`, 900) + `{}]}`,
	strings.Repeat("[", 20_000),
}

var jsonTypes = []reflect.Type{reflect.TypeFor[tree](), reflect.TypeFor[wild](), reflect.TypeFor[int](), reflect.TypeFor[string](), reflect.TypeFor[any](), reflect.TypeFor[[]int](),
	reflect.TypeFor[map[string]any](), reflect.TypeFor[struct{}](), reflect.TypeFor[json.RawMessage](), reflect.TypeFor[*tree](), reflect.TypeFor[chan int]()}

// decodesAlike compares the codec with package json, and says whether it has decoded.
func decodesAlike(t *testing.T, typ reflect.Type, body []byte) {
	t.Helper()
	before := string(body)
	want, got := reflect.New(typ), reflect.New(typ)
	right, err := json.Unmarshal(body, want.Interface()), sixfold.JSON.Unmarshal(body, got.Interface())
	if string(body) != before {
		t.Fatalf("%.80q: the body was changed to %.80q", before, body)
	}
	if (right == nil) != (err == nil) {
		t.Fatalf("%.80q into %v: %v, package json says %v", body, typ, err, right)
	}
	if right == nil {
		if !reflect.DeepEqual(want.Interface(), got.Interface()) {
			t.Fatalf("%.80q into %v: %+v, package json makes %+v", body, typ, got.Elem(), want.Elem())
		}
		return
	}
	if inner := errors.Unwrap(err); inner == nil || inner.Error() != right.Error() || reflect.TypeOf(inner) != reflect.TypeOf(right) {
		t.Fatalf("%.80q into %v: %v, package json says %v", body, typ, inner, right)
	}
}

// Whatever came before, a body is decoded as package json does, and refused with the same error.
func TestJSONDecodesAsPackageJSON(t *testing.T) {
	for range 3 {
		for _, body := range jsonBodies {
			for _, typ := range jsonTypes {
				decodesAlike(t, typ, []byte(body))
				decodesAlike(t, typ, []byte(`{"name":"between"}`))
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for i, body := range jsonBodies {
		f.Add([]byte(body), uint(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, i uint) {
		typ := jsonTypes[i%uint(len(jsonTypes))]
		decodesAlike(t, typ, body)
		decodesAlike(t, typ, []byte(`{"name":"after"}`))
	})
}

// keeper keeps what it is given, which breaks a rule of package json, but does no harm there.
type keeper struct{ text []byte }

func (k *keeper) UnmarshalJSON(b []byte) error { k.text = b; return nil }

type textKeeper struct{ text []byte }

func (k *textKeeper) UnmarshalText(b []byte) error { k.text = b; return nil }

// A type that keeps the bytes it was decoded from does not see those of a later message.
func TestJSONOfKeepersStays(t *testing.T) {
	type message struct {
		Name string
		K    keeper
		T    *textKeeper
		M    map[string][]keeper
	}
	var kept message
	if err := sixfold.JSON.Unmarshal([]byte(`{"Name":"a","K":"one","T":"two","M":{"m":["three"]}}`), &kept); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var other struct{ Name string }
		if err := sixfold.JSON.Unmarshal([]byte(`{"Name":"`+strings.Repeat("z", 300)+`"}`), &other); err != nil {
			t.Fatal(err)
		}
	}
	if k, text, m := string(kept.K.text), string(kept.T.text), string(kept.M["m"][0].text); k != `"one"` || text != "two" || m != `"three"` {
		t.Errorf("what was kept is now %s, %s and %s", k, text, m)
	}
}

// Small bodies cost what they become and hardly more, where package json allocates four times. The race detector has pools lose some.
func TestJSONAllocatesLittle(t *testing.T) {
	body := []byte(`{"name":"a"}`)
	v := new(tree)
	if n := testing.AllocsPerRun(1000, func() {
		if err := sixfold.JSON.Unmarshal(body, v); err != nil {
			t.Error(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
