// Package servers starts the private servers that tests, the torture program and the benchmarks run on: PostgreSQL, MariaDB,
// NATS with JetStream and RabbitMQ, each on a random loopback port, with data of its own, and ended with the process that
// started it.
//
// In a test package:
//
//	func TestMain(m *testing.M) { servers.Main(m) }
//
//	func TestRelay(t *testing.T) {
//		dsn := servers.Postgres(t).Database(t) // a new, empty database, dropped when the test ends
//		other := servers.MariaDB(t).Database(t) // the same
//		nc := servers.NATS(t, nil)
//		rabbit := servers.RabbitMQ(t) // one node for all tests of the process; PrivateRabbitMQ starts another
//		...
//	}
//
// In a program, use [StartPostgres], [StartMariaDB], [StartNATS], [StartNATSProcess] and [StartRabbitMQ], which take a context and return
// errors, and call [Reexec] first in main.
//
// A server ends in three ways, so that none is left behind: by Close; when the process that started it dies, through the
// parent-death signal on Linux; and, on every Unix and also after SIGKILL of that process, through a watchdog which holds
// the other end of a pipe. The data directory goes with it.
//
// PostgreSQL, MariaDB and RabbitMQ are not embedded: their programs must be on the machine. Where they are missing, a process that
// runs as root on Debian or Ubuntu installs them, and everybody else's test is skipped with the reason, or fails with
// SIXFOLD_REQUIRE=1. A RabbitMQ node takes about six seconds to start, so tests share one; it has an epmd of its own.
package servers
