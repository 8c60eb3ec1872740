package servers

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// sharedAWS are the emulators of a test process, by kind: names of a test's own separate it well enough.
var sharedAWS struct {
	sync.Mutex
	servers map[Emulator]*AWSServer
	errs    map[Emulator]error
}

// AWS returns the emulator of that kind which all tests of this process share. [Main] ends it. Where the machine cannot run it, t is
// skipped, or fails with SIXFOLD_REQUIRE=1 unless another emulator is there. A test that kills it takes [PrivateAWS].
func AWS(t testing.TB, kind Emulator) *AWSServer {
	t.Helper()
	long(t, "SQS")
	a, err := shareAWS(t.Context(), kind)
	if err != nil {
		giveUpAWS(t, kind, err)
	}
	return a
}

func shareAWS(ctx context.Context, kind Emulator) (*AWSServer, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	sharedAWS.Lock()
	defer sharedAWS.Unlock()
	if sharedAWS.servers == nil {
		sharedAWS.servers, sharedAWS.errs = make(map[Emulator]*AWSServer), make(map[Emulator]error)
	}
	if err := sharedAWS.errs[kind]; err != nil {
		return nil, err
	}
	if a := sharedAWS.servers[kind]; a != nil {
		return a, a.Start(ctx)
	}
	a, err := StartAWS(ctx, kind)
	if err != nil {
		sharedAWS.errs[kind] = err
		return nil, err
	}
	sharedAWS.servers[kind] = a
	return a, nil
}

// giveUpAWS skips where another emulator does the work, since one of them is enough to require.
func giveUpAWS(t testing.TB, kind Emulator, err error) {
	t.Helper()
	if errors.Is(err, ErrUnavailable) {
		for _, other := range []Emulator{Fauxqs, Moto} {
			if other == kind {
				continue
			}
			if _, oerr := shareAWS(t.Context(), other); oerr == nil {
				t.Skipf("%v (the other emulator, %s, is here)", err, other)
			}
		}
	}
	giveUp(t, err)
}

// stopSharedAWS ends the shared emulators.
func stopSharedAWS() error {
	sharedAWS.Lock()
	defer sharedAWS.Unlock()
	var errs []error
	for kind, a := range sharedAWS.servers {
		errs = append(errs, a.Close())
		delete(sharedAWS.servers, kind)
		sharedAWS.errs[kind] = errors.New("servers: the shared emulator was ended by Main; start it in a test")
	}
	return errors.Join(errs...)
}

// PrivateAWS starts an emulator for this test alone, and closes it when the test ends.
func PrivateAWS(t testing.TB, kind Emulator) *AWSServer {
	t.Helper()
	long(t, "SQS")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	a, err := StartAWS(ctx, kind)
	if err != nil {
		giveUpAWS(t, kind, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s ends with:\n%s", kind, a.Log())
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}
