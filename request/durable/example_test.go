package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/store/memory"
	transport "github.com/sixfold-go/sixfold/transport/memory"
)

// TripBooked begins a flow.
type TripBooked struct{ Trip string }

// BookRoom asks a hotel, where a person answers.
type BookRoom struct {
	sixfold.Returns[Room] `json:"-"`

	Trip string
}

// Room is a room, or why there is none.
type Room = request.Result[int, string]

// RoomChosen is what the person says.
type RoomChosen struct {
	Trip string
	Room int
}

func (TripBooked) MessageName() string  { return "trips.booked" }
func (t TripBooked) MessageKey() string { return t.Trip }
func (BookRoom) MessageName() string    { return "hotel.book" }
func (b BookRoom) MessageKey() string   { return b.Trip }
func (RoomChosen) MessageName() string  { return "hotel.chosen" }
func (r RoomChosen) MessageKey() string { return r.Trip }

// Trip is the state of the flow.
type Trip struct {
	Number string
	Room   int
}

// Booking is the state of the hotel's saga.
type Booking struct {
	Asked durable.Asked[BookRoom]
}

func trips(box *saga.Box[*memory.Tx], requests *durable.Service[*memory.Tx], opts *flow.Options) (*flow.Flow[*memory.Tx, Trip], error) {
	return flow.New("trip", box, opts,
		flow.Begin(TripBooked.MessageKey, func(s *Trip, t TripBooked) error { s.Number = t.Trip; return nil }),
		flow.Step("room",
			durable.FlowDo(requests, func(s *Trip) BookRoom { return BookRoom{Trip: s.Number} }, func(s *Trip, r Room) error {
				room, ok := r.Value()
				if !ok {
					return flow.ErrRefused
				}
				s.Room = room
				return nil
			})).Within(24*time.Hour).NoUndo("rooms are held until the evening"))
}

func bookings(box *saga.Box[*memory.Tx], requests *durable.Service[*memory.Tx]) (*saga.Saga[*memory.Tx, Booking], error) {
	return saga.Define("booking", box,
		saga.StartedBy(BookRoom.MessageKey, func(ctx context.Context, tx *memory.Tx, s *Booking, m BookRoom, fx *saga.Effects) (err error) {
			s.Asked, err = durable.AskedIn(ctx, requests, m)
			return err
		}),
		saga.On(RoomChosen.MessageKey, func(ctx context.Context, tx *memory.Tx, s *Booking, m RoomChosen, fx *saga.Effects) error {
			var room Room
			durable.ReplyFrom(fx, s.Asked, room.Accept(m.Room))
			fx.Complete()
			return nil
		}).Required())
}

// A flow asks, and a saga of another service answers when a person has decided.
func Example_sagas() {
	st, broker := memory.New(nil), transport.New(&transport.Options{Topics: []string{"trips", "trips.replies", "hotel"}})
	ended := make(chan flow.Ended, 1)
	err := func() error {
		out, err := outbox.New(st.Outbox(), nil, outbox.To("trips", TripBooked{}, flow.Timer("trip")), outbox.To("hotel", BookRoom{}, RoomChosen{}))
		if err != nil {
			return err
		}
		in, err := inbox.New(st.DB(), st.Inbox(), nil)
		if err != nil {
			return err
		}
		box, err := saga.NewBox(in, out, st.Sagas(), nil)
		if err != nil {
			return err
		}
		requests, err := durable.New(out, in, &durable.Options{ReplyTo: "trips.replies"})
		if err != nil {
			return err
		}
		trip, terr := trips(box, requests, &flow.Options{OnEnd: func(_ context.Context, e flow.Ended) { ended <- e }})
		booking, berr := bookings(box, requests)
		relay, rerr := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{Logger: quiet()})
		if err := errors.Join(terr, berr, rerr); err != nil {
			return err
		}
		agency, aerr := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"trips", "trips.replies"}, Group: "agency"}, nil, trip.Routes()...)
		hotel, herr := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"hotel"}, Group: "hotel"}, nil, booking.Routes()...)
		if err := errors.Join(aerr, herr); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		done := make(chan error, 1)
		go func() { done <- sixfold.Run(ctx, relay, agency, hotel) }()
		err = outbox.Do(ctx, out, st.DB(), func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(TripBooked{"t-1"})
			return nil
		})
		if err != nil {
			return err
		}
		err = outbox.Do(ctx, out, st.DB(), func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(RoomChosen{"t-1", 214})
			return nil
		})
		if err != nil {
			return err
		}
		e := <-ended
		fmt.Println(e.Flow, e.Key, e.Status)
		stop()
		return <-done
	}()
	if err != nil {
		fmt.Println(err)
	}
	// Output: trip t-1 completed
}
