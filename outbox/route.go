package outbox

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A Route says where messages go. To and ToConsumer make routes; New takes them. A message that several routes name is
// written once for each.
type Route struct {
	names     []string
	local     string
	topic     string
	class     string
	mustReach *bool
	command   bool
	err       error
}

// To sends messages of the types of ms (only their types matter) to a broker's topic. An event may miss: it is no
// failure if nobody has made a place for the topic yet. A command must reach.
func To(topic string, ms ...sixfold.Message) Route {
	return Route{topic: topic}.named(errors.Join(sixfold.CheckTopic(topic)), ms)
}

// ToConsumer hands messages of the types of ms to the consumer of that name in the same database, with no broker in
// between.
func ToConsumer(consumer string, ms ...sixfold.Message) Route {
	return Route{local: consumer}.named(checkConsumer(consumer), ms)
}

func (r Route) named(err error, ms []sixfold.Message) Route {
	r.err = err
	if len(ms) == 0 {
		r.err = errors.Join(r.err, fmt.Errorf("outbox: route %s: it names no message; pass one value of each type that goes there", r))
	}
	for i, m := range ms {
		if m == nil || reflect.TypeOf(m).Kind() == reflect.Pointer {
			r.err = errors.Join(r.err, fmt.Errorf("outbox: route %s: message number %d is a %T; pass a plain value", r, i+1, m))
			continue
		}
		r.err = errors.Join(r.err, sixfold.CheckMessageName(m.MessageName()))
		r.names = append(r.names, m.MessageName())
		r.command = r.command || isCommand(m)
	}
	return r
}

// isCommand knows a Command[R] or Query[R] of any R by the method that sixfold.Returns gives it.
func isCommand(m sixfold.Message) bool {
	t := reflect.TypeOf(m)
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.PkgPath() == "github.com/sixfold-go/sixfold" && len(f.Type.Name()) > 8 && f.Type.Name()[:8] == "Returns[" {
			return true
		}
	}
	return false
}

// MustReach makes an unroutable message a failure that blocks its key until it can be routed.
func (r Route) MustReach() Route { r.mustReach = new(true); return r }

// MayMiss makes an unroutable message count as missed and settled.
func (r Route) MayMiss() Route { r.mustReach = new(false); return r }

// Via names the transport, of those that the relay was given, that the route uses. Without it, the default one.
func (r Route) Via(transport string) Route {
	r.class = transport
	if r.local != "" {
		r.err = errors.Join(r.err, fmt.Errorf("outbox: route %s: a local destination uses no transport; leave Via out", r))
	}
	r.err = errors.Join(r.err, checkClass(transport))
	return r
}

func (r Route) String() string {
	if r.local != "" {
		return fmt.Sprintf("to local consumer %q", r.local)
	}
	return fmt.Sprintf("to topic %q", r.topic)
}

func checkConsumer(name string) error {
	if name == "" {
		return errors.New(`outbox: consumer "": it is empty; give the name (group) of the consumer`)
	}
	if len(strings.TrimSuffix(name, bus.DeadSuffix)) > maxClass-len(bus.DeadSuffix) {
		return fmt.Errorf("outbox: consumer %.64q: it has %d bytes, the limit is %d, so that its dead letters have a name as well; shorten it", name, len(name), maxClass-len(bus.DeadSuffix))
	}
	return checkClass(name)
}

// maxClass bounds the name of a transport or a local consumer, in bytes.
const maxClass = 100

// checkClass bounds names that become part of lease rows.
func checkClass(name string) error {
	if len(name) > maxClass || slices.ContainsFunc([]byte(name), func(c byte) bool { return c <= ' ' || c >= 0x7f }) {
		return fmt.Errorf("outbox: name %.64q: it has more than %d bytes, or spaces, control characters or non-ASCII; use letters, digits, dots and dashes", name, maxClass)
	}
	return nil
}

// destination of one row.
type destination struct {
	table        Table
	class, topic string
	mustReach    bool
}

func (r Route) destination() destination {
	if r.local != "" {
		return destination{table: ToLocal, class: r.local, mustReach: true}
	}
	must := r.command
	if r.mustReach != nil {
		must = *r.mustReach
	}
	return destination{table: ToBroker, class: r.class, topic: r.topic, mustReach: must}
}

// Routed says whether messages of m's name have a route; if not, the error wraps ErrNoRoute. It is for who publishes later and
// wants to know now.
func (o *Outbox) Routed(m sixfold.Message) error {
	if len(o.routes[m.MessageName()]) > 0 {
		return nil
	}
	return noRoute(m.MessageName())
}

func noRoute(name string) error {
	return fmt.Errorf("%w: %q; give outbox.New a route: outbox.To(\"<topic>\", …) or outbox.ToConsumer(\"<consumer>\", …)", ErrNoRoute, name)
}

// table of routes by message name.
type routes map[string][]destination

func newRoutes(rs []Route) (routes, error) {
	out := make(routes)
	var errs []error
	for _, r := range rs {
		errs = append(errs, r.err)
		d := r.destination()
		for _, n := range r.names {
			if slices.ContainsFunc(out[n], func(o destination) bool { return o.table == d.table && o.class == d.class && o.topic == d.topic }) {
				errs = append(errs, fmt.Errorf("outbox: route %s: it names %q twice; remove one", r, n))
				continue
			}
			out[n] = append(out[n], d)
		}
	}
	return out, errors.Join(errs...)
}
