package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/saga"
)

func (a *app) sagaCommand() *cobra.Command {
	return a.group("saga", "look at instances of sagas and flows; retry, resume, cancel and compensate them",
		a.sagaList(), a.sagaShow(), a.sagaHistory(), a.sagaGraph(), a.sagaRetry(), a.sagaResume(), a.sagaCancel(), a.sagaCompensate())
}

// shownInstance is an instance for JSON.
type shownInstance struct {
	Saga       string       `json:"saga"`
	Key        string       `json:"key"`
	ID         string       `json:"id"`
	Generation int          `json:"generation"`
	Version    int64        `json:"version"`
	Status     string       `json:"status"`
	Step       string       `json:"step,omitempty"`
	At         []string     `json:"at,omitempty"`
	Schema     int          `json:"schema"`
	Reason     string       `json:"reason,omitempty"`
	Started    string       `json:"started"`
	Changed    string       `json:"changed"`
	Ended      string       `json:"ended,omitempty"`
	Timers     []shownTimer `json:"timers,omitempty"`
	State      *string      `json:"state,omitempty"`
}

type shownTimer struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

func shownInstanceOf(in *saga.Instance) shownInstance {
	v := shownInstance{Saga: in.Saga, Key: in.Key, ID: in.ID, Generation: in.Generation, Version: in.Version, Status: in.Status.String(), Step: in.Step, Schema: in.Schema, Reason: in.Reason,
		Started: instant(in.Started, time.UTC), Changed: instant(in.Changed, time.UTC), Ended: instant(in.Ended, time.UTC)}
	for _, t := range in.Timers {
		v.Timers = append(v.Timers, shownTimer{ID: t.ID, Type: t.Type})
	}
	return v
}

// desk is where the instances of a database are looked at.
func (db *database) desk() (*saga.Desk, error) { return saga.NewDesk(db.run, db.Sagas()) }

// openDesk connects to the database.
func (a *app) openDesk(ctx context.Context) (*saga.Desk, *database, error) {
	db, err := a.connect(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	desk, err := db.desk()
	if err != nil {
		db.close()
	}
	return desk, db, err
}

// pageOfInstances is how many are read at a time where all are looked at.
const pageOfInstances = 500

// instances calls fn for those that match f, until it fails.
func instances(ctx context.Context, desk *saga.Desk, f saga.Filter, fn func(in *saga.Instance) error) error {
	for p := (saga.Page{Limit: pageOfInstances}); ; {
		list, err := desk.List(ctx, f, p)
		if err != nil {
			return err
		}
		for i := range list {
			if err := fn(&list[i]); err != nil {
				return err
			}
			p.AfterSaga, p.AfterKey, p.AfterGeneration = list[i].Saga, list[i].Key, list[i].Generation
		}
		if len(list) < p.Limit {
			return nil
		}
	}
}

// instance looks for the last one of a saga and key, or for that of a generation.
func instance(ctx context.Context, desk *saga.Desk, name, key string, generation int) (*saga.Instance, error) {
	var found *saga.Instance
	err := instances(ctx, desk, saga.Filter{Saga: name, Key: key, Full: true}, func(in *saga.Instance) error {
		if generation == 0 || in.Generation == generation {
			own := *in
			found = &own
		}
		return nil
	})
	if err == nil && found == nil {
		what := "saga " + quote(name) + " has no instance " + quote(key)
		if generation != 0 {
			what += fmt.Sprintf(" of generation %d", generation)
		}
		err = failedWith(what, "copy both from sixfold saga list; those that ended are kept for a time only")
	}
	return found, err
}

// sagaAndKey is for commands about one instance.
func sagaAndKey(c *cobra.Command, args []string) error {
	if len(args) < 2 {
		return usage(c.CommandPath()+" needs the name of a saga and the key of an instance", "copy both from sixfold saga list")
	}
	return noArguments(c, args[2:])
}

var statuses = []saga.Status{saga.Running, saga.Compensating, saga.Completed, saga.Failed, saga.Compensated, saga.Cancelled, saga.Stuck}

// parseStatus reads a status by its name.
func parseStatus(text string) (saga.Status, error) {
	var names []string
	for _, s := range statuses {
		if s.String() == text {
			return s, nil
		}
		names = append(names, s.String())
	}
	return 0, usage("--status "+quote(text)+": there is no such status", "write one of "+strings.Join(names, ", "))
}
