package rabbitmq

import "time"

// An alarm is a timer that is set or not. It belongs to one goroutine.
type alarm struct {
	*time.Timer
	set bool
}

// newAlarm makes one that is not set.
func newAlarm() *alarm {
	a := &alarm{Timer: time.NewTimer(time.Hour)}
	a.Stop()
	return a
}

// within sets the alarm, unless it is set: who asks again and again does not put it off.
func (a *alarm) within(d time.Duration) {
	if !a.set {
		a.set = true
		a.Reset(d)
	}
}

// rang notes that it went off.
func (a *alarm) rang() { a.set = false }
