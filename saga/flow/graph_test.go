package flow_test

import (
	"testing"

	"github.com/sixfold-go/sixfold/saga/flow"
)

func TestGraph(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), work("a"),
		flow.When("gift", func(s *order) bool { return s.Gift }, work("wrap")), work("b").Pivot(), flow.Parallel("p", forward("c"), forward("d-e")), forward("z"))
	must(t, err)
	const want = `flowchart TD
  begin([shop.started])
  s_a["a: 3"]
  begin --> s_a
  s_gift_if{"gift"}
  s_a --> s_gift_if
  s_gift_2fwrap["gift/wrap"]
  s_gift_if -- yes --> s_gift_2fwrap
  s_b["b"]
  s_gift_2fwrap --> s_b
  s_gift_if -- no --> s_b
  pivot1{{point of no return}}
  s_b --> pivot1
  s_p_2fc["p/c: 0"]
  pivot1 --> s_p_2fc
  s_p_2fd_2de["p/d-e"]
  pivot1 --> s_p_2fd_2de
  s_z["z"]
  s_p_2fc --> s_z
  s_p_2fd_2de --> s_z
  done([completed])
  s_z --> done
  s_a -.-> s_a_undo[/"undo a"/]
  s_gift_2fwrap -.-> s_gift_2fwrap_undo[/"undo gift/wrap"/]
  s_b -.-> s_b_undo[/"undo b"/]
`
	if got := f.Graph(map[string]int64{"a": 3, "p/c": 0}); got != want {
		t.Errorf("the graph is\n%s", got)
	}
}
