// Package itest holds the tests of Sixfold that need real servers or third-party libraries.
//
// It is a module of its own, never tagged and never imported, so that what it requires reaches nobody's build. The
// package servers starts the private PostgreSQL and NATS servers that its tests run on.
package itest
