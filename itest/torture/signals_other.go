//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// Where there are no Unix signals, package servers starts no PostgreSQL either, so that no run gets to the use of these.
var (
	sigTerminate os.Signal = os.Interrupt
	sigKill      os.Signal = os.Kill
	sigFreeze    os.Signal = os.Kill
	sigThaw      os.Signal = os.Kill
)

func freezeSelf() {}

func killSelf() { os.Exit(137) }

func apart(*exec.Cmd) {}

func wasKilled(s *os.ProcessState) bool { return s.ExitCode() == 137 }
