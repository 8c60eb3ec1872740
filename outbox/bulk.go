package outbox

import "context"

// Rows makes the rows of a message, with every check of Publish, and writes nothing: for who writes them in another way
// than the store's Writer, as package postgres does with COPY. Whoever does so keeps their order, and rings the store's
// bells.
func (o *Outbox) Rows(ctx context.Context, it Item) (id string, broker, local []Row, err error) {
	w, err := o.kept(ctx, it.message, it.opts)
	if err == nil {
		err = w.refuseDelayed("make the rows of", it.message.MessageName())
	}
	return w.id, w.broker, w.local, err
}

// Store answers the store that New was given.
func (o *Outbox) Store() Store { return o.store }
