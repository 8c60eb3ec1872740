package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/sqltx"
)

var errUnreadable = errors.New("it could not be read as an envelope; give a body, its type and its content type")

// Edit implements deadletter.Writer. Digest and identity stay, so that the inbox knows late copies of the original.
func (d *DeadLetters) Edit(ctx context.Context, n int64, e deadletter.Edit) error {
	err := d.change(ctx, func(tx sqltx.Tx) error {
		rows, err := d.lock(ctx, tx, []int64{n}, true)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			q := d.sql()
			err := deadletter.ErrNotFound
			if there, failed := q.exists(ctx, tx, "SELECT 1 FROM {{parked}} WHERE n = "+q.arg(n)); failed != nil || there {
				err = cmp.Or(failed, deadletter.ErrClaimed) // a handler's transaction holds it
			}
			return err
		}
		p := &rows[0]
		switch {
		case p.claimed:
			return deadletter.ErrClaimed
		case p.damaged && (!e.SetBody || e.Type == "" || e.ContentType == ""):
			return errUnreadable
		}
		attrs, err := editAttrs(p.attrs, e, p.damaged)
		if err != nil {
			return err
		}
		body := p.body
		if e.SetBody {
			body = e.Body
		}
		before, after := p.before(), map[string]any{"attrs": texts(attrs), "body": texts(body)}
		before["attrs"], before["body"] = texts(p.attrs), texts(p.body)
		q := d.sql()
		set := "attrs = " + q.arg(attrs)
		if e.SetBody {
			if e.Body == nil {
				set += ", body = NULL"
			} else {
				set += ", body = " + q.arg(e.Body)
			}
		}
		if e.Type != "" {
			set += ", type = " + q.arg(e.Type)
		}
		if p.damaged {
			set += ", damaged = NULL"
		}
		if _, err := q.exec(ctx, tx, "UPDATE {{parked}} SET "+set+" WHERE n = "+q.arg(n)); err != nil {
			return err
		}
		return d.audit(ctx, tx, e.Who, "edit", "", e.Reason, []auditEntry{p.entry(before, after)})
	})
	return failed("edit a parked message", err)
}

// editAttrs changes attributes, and keeps those that this version does not know.
func editAttrs(old []byte, e deadletter.Edit, damaged bool) ([]byte, error) {
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(old, &attrs); err != nil && !damaged {
		return nil, fmt.Errorf("its attributes cannot be read; discard it: %w", err)
	}
	if attrs == nil {
		attrs = map[string]json.RawMessage{}
	}
	set := func(name string, v any) (err error) {
		attrs[name], err = json.Marshal(v)
		return err
	}
	var errs []error
	if e.Type != "" {
		errs = append(errs, set("type", e.Type))
	}
	if e.ContentType != "" {
		errs = append(errs, set("datacontenttype", e.ContentType))
	}
	switch {
	case e.Headers != nil && len(e.Headers) == 0:
		delete(attrs, "headers")
	case e.Headers != nil:
		errs = append(errs, set("headers", e.Headers))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return json.Marshal(attrs)
}
