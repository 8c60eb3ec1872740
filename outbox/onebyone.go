package outbox

// oneByOne keeps one unconfirmed envelope per key, for transports that cannot keep prefixes. Its user locks.
type oneByOne struct {
	busy  map[string][]outRow // by key that has a row in flight: those that wait behind it
	ready []outRow            // may be sent next
	held  int                 // rows in both
}

// admit reports whether r may be sent now; otherwise it is kept.
func (o *oneByOne) admit(r outRow) bool {
	if r.out.Key == "" {
		return true
	}
	if o.busy == nil {
		o.busy = make(map[string][]outRow)
	}
	waiting, is := o.busy[r.out.Key]
	if !is {
		o.busy[r.out.Key] = nil
		return true
	}
	o.busy[r.out.Key] = append(waiting, r)
	o.held++
	return false
}

// confirmed makes the next row of the key ready.
func (o *oneByOne) confirmed(key string) {
	waiting, is := o.busy[key]
	switch {
	case !is:
	case len(waiting) == 0:
		delete(o.busy, key)
	default:
		o.ready = append(o.ready, waiting[0])
		o.busy[key] = waiting[1:]
	}
}

// failed forgets the rows that waited for a failed one and answers them; they are read again with it.
func (o *oneByOne) failed(key string) []outRow {
	waiting := o.busy[key]
	o.held -= len(waiting)
	delete(o.busy, key)
	return waiting
}

// take answers the rows that are ready.
func (o *oneByOne) take() []outRow {
	rows := o.ready
	o.ready = nil
	o.held -= len(rows)
	return rows
}

// each calls f for every row that is kept.
func (o *oneByOne) each(f func(outRow)) {
	for _, r := range o.ready {
		f(r)
	}
	for _, rows := range o.busy {
		for _, r := range rows {
			f(r)
		}
	}
}
