package mediator

import (
	"errors"

	"github.com/sixfold-go/sixfold"
)

// Options of a Mediator. The zero value, and nil, mean the defaults.
type Options struct {
	// Middleware wraps every handler. The first is the outermost.
	Middleware []sixfold.Middleware
	// Commands, Queries and Notifications wrap the handlers of one kind, inside Middleware. Streams are queries.
	Commands, Queries, Notifications []sixfold.Middleware
	// Policy of notifications, unless Publish is told another one.
	Policy Policy
	// Source names the service in the envelopes of notifications. Default "sixfold".
	Source string
}

// A Mediator knows the handlers. It does not change and is safe for concurrent use.
type Mediator struct {
	entries map[any]any      // by Route.key: *single[M, R], *streamed[M, T] or *fanout[M]
	names   map[string]entry // what else is known, for errors and for messages in interfaces
}

// entry is what one message has.
type entry struct {
	Route
	any any // the same as in Mediator.entries
}

// New makes the Mediator of routes. It reports every problem at once: two handlers for one command or query, two types of
// one name, a nil handler or middleware; each with the file and line of the routes.
func New(opts *Options, routes ...Route) (*Mediator, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Source == "" {
		o.Source = "sixfold"
	}
	groups, err := group(routes)
	if err := errors.Join(o.check(), err); err != nil {
		return nil, err
	}
	m := &Mediator{entries: make(map[any]any, len(groups)), names: make(map[string]entry, len(groups))}
	for _, g := range groups {
		e := g[0].build(g, &o)
		m.entries[g[0].key] = e
		m.names[g[0].name] = entry{g[0], e}
	}
	return m, nil
}

func (o *Options) check() error {
	var errs []error
	for _, list := range []struct {
		name string
		mws  []sixfold.Middleware
	}{{"Middleware", o.Middleware}, {"Commands", o.Commands}, {"Queries", o.Queries}, {"Notifications", o.Notifications}} {
		for i, mw := range list.mws {
			if mw == nil {
				errs = append(errs, invalid("%s number %d: it is nil; leave it out, or look at the error of what made it", list.name, i+1))
			}
		}
	}
	if o.Policy < AllAtOnce || o.Policy > StopAtFirst {
		errs = append(errs, invalid("Policy %d: give AllAtOnce, InOrder or StopAtFirst", int(o.Policy)))
	}
	return errors.Join(errs...)
}

// group answers the usable routes of each message, in their order, and everything that is wrong.
func group(routes []Route) (groups [][]Route, err error) {
	var errs []error
	at := map[string]int{} // message name to index of groups
	for i, r := range routes {
		if r.err == nil && r.build == nil {
			r.err = invalid("route number %d: it is empty; make routes with mediator.OnCommand, OnQuery, OnStream or OnNotification", i+1)
		}
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		j, known := at[r.name]
		if !known {
			at[r.name] = len(groups)
			groups = append(groups, []Route{r})
			continue
		}
		first := groups[j][0]
		switch {
		case first.goType != r.goType:
			errs = append(errs, invalid("message name %.64q: two types have it, %s (%s) and %s (%s); give each a name of its own", r.name, first.goType, first.where, r.goType, r.where))
		case first.kind != r.kind:
			errs = append(errs, invalid("message %.64q: it is handled as a %s by %s (%s) and as a %s by %s (%s); choose one", r.name, first.kind, first.handler, first.where, r.kind, r.handler, r.where))
		case r.kind == notification:
			groups[j] = append(groups[j], r)
		default:
			errs = append(errs, invalid("%s %.64q: it has two handlers, %s (%s) and %s (%s); leave one out", r.kind, r.name, first.handler, first.where, r.handler, r.where))
		}
	}
	return groups, errors.Join(errs...)
}

// middleware of a route, the outermost first.
func (o *Options) middleware(r Route) (mws []sixfold.Middleware) {
	mws = append(mws, o.Middleware...)
	switch r.kind {
	case command:
		mws = append(mws, o.Commands...)
	case query, stream:
		mws = append(mws, o.Queries...)
	case notification:
		mws = append(mws, o.Notifications...)
	}
	return append(mws, r.mws...)
}
