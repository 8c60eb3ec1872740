package flow

import (
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }
