package kafkatest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fence has the brokers tell every member of a group, once, that it is none any more.
func (f *fixture) fence(tb testing.TB, name string) {
	tb.Helper()
	members := len(f.fake.GroupInfo(name).Members)
	told := make(map[string]bool)
	h := f.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Group: name, TopLevel: true, Err: kerr.UnknownMemberID, Count: -1,
		When: func(req kmsg.Request) bool {
			id := req.(*kmsg.ConsumerGroupHeartbeatRequest).MemberID
			again := told[id] || len(told) == members
			told[id] = true
			return !again
		}})
	if err := h.Wait(tb.Context(), members); err != nil {
		tb.Fatal(err)
	}
	h.Remove()
}
