package outbox

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Partitions is the number of partitions of an outbox. A row's partition is the FNV-1a hash of its key modulo this,
// the same for every process and version.
const Partitions = 64

// Table is one of the two tables of the same shape, or Later.
type Table int

const (
	// ToBroker holds rows on their way to a broker.
	ToBroker Table = iota
	// ToLocal holds rows for consumers of the same database.
	ToLocal
	// Later holds rows that wait for their time, which move into one of the other two. It has a Bell, and nothing else that
	// they have.
	Later
)

func (t Table) String() string {
	switch t {
	case ToLocal:
		return "local"
	case Later:
		return "delayed"
	}
	return "outbox"
}

// Row is one message in the outbox.
type Row struct {
	Seq       int64  // given by the database; grows within a partition in the order that one key needs
	Partition int16  // of its key
	Attempts  int16  // counted durably; local rows only
	ID        string // UUID
	// Class of destination: the name of a transport ("" for the only one), or the name of a local consumer. Leases are
	// per class and partition.
	Class string
	Topic string // empty for local rows
	Key   string // empty: none
	// Attrs are all other attributes, as EncodeAttrs writes them.
	Attrs []byte
	Body  []byte // nil and empty are told apart
	// Foreign says that the row of another class or partition was read for its number only.
	Foreign bool

	// Claim, when not empty, is entered into "published" in the same statement and refuses a second row with the
	// same Claim until ClaimFor has passed (0: for ever): the ids that a caller chose, and Unique keys.
	Claim    string
	ClaimFor time.Duration
}

// Writer is the outbox as its publishers need it. It writes in the caller's transaction.
type Writer interface {
	// Append inserts rows, in their order, into t in one round trip (more beyond 16 MB). Rows whose Claim is taken are
	// not written; their indexes come back and tx stays usable. The slice is the caller's again when Append returns. With wantXact it also answers an identification of the
	// transaction for Outcome, empty where there is none.
	Append(ctx context.Context, tx sqltx.Tx, t Table, rows []Row, wantXact bool) (refused []int, xact string, err error)
	// Delay is Append for rows that wait for their time.
	Delay(ctx context.Context, tx sqltx.Tx, rows []DelayedRow, wantXact bool) (refused []int, xact string, err error)
	// Prepare is Append as a statement for the caller's own batch. Rows with a Claim cannot be prepared.
	Prepare(t Table, rows []Row) (sqltx.Statement, error)
	// Outcome asks a fresh connection what became of a transaction whose COMMIT was not answered. It waits, as long
	// as ctx lasts, while it is still in progress.
	Outcome(ctx context.Context, xact string) (Outcome, error)
	// Definite reports whether err of a COMMIT is the database's own word that nothing was committed.
	Definite(err error) bool
}

// Outcome of a transaction.
type Outcome int

const (
	Unknown Outcome = iota
	Committed
	RolledBack
)

// Queue is one table of the outbox as its relay needs it. Each call is a short transaction of its own.
type Queue interface {
	// Read answers rows with a seq above after, in order of seq, at most limit, all of one snapshot. Rows that own does
	// not hold come with Foreign set and without content.
	Read(ctx context.Context, after int64, limit int, own Ownership) ([]Row, error)
	// LookUp answers the rows that are now there among missing (ranges in ascending order), at most limit, in order
	// of seq. A result of limit rows may be incomplete.
	LookUp(ctx context.Context, missing []Range, limit int, own Ownership) ([]Row, error)
	// Writers identifies the open transactions that may still fill a gap. A name that begins with "-" may stand for any
	// transaction named before. Nil, nil from a store where a gap never fills.
	Writers(ctx context.Context) ([]string, error)
	// Settle deletes rows, or moves them to "delivered" where they are kept, unless node has been taken over; it
	// answers how many were there, and ErrFenced when node is gone.
	Settle(ctx context.Context, node string, seqs []int64) (int, error)
	// Claim deletes rows in a handler's own transaction and answers, in ascending order, the seqs that were there, and those
	// of them whose key has a line of the consumer now, so that they have to wait behind it; ErrFenced when node is gone.
	Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error)
	// Bury makes dead letters of rows on their way to a broker, in one transaction: they leave the table and are parked as dead,
	// which holds nothing back. It answers how many were there; ErrFenced when
	// node is gone, and then nothing has changed. Rows for local consumers are buried by those.
	Bury(ctx context.Context, node string, dead []DeadRow) (int, error)
}

// DeadRow is a row that no broker takes. Its topic, key, attributes and body are those of the row.
type DeadRow struct {
	Seq int64
	// ID, Type and Source of its message.
	ID, Type, Source string
	// Reason as bus.DeadReason has it; Error with all that it wraps, one line of at most 4 kB; Node: host and process.
	Reason, Error, Node string
	Attempts            int // that failed
}

// Keeper looks after the tables: what it reads is for people, what it removes nobody needs.
type Keeper interface {
	// Stats reads what a table holds.
	Stats(ctx context.Context, t Table) (Stats, error)
	// Purge removes, at most limit of each, delivered rows and claims that are past their retention. It answers how many
	// it removed; processes that purge at once do not wait for each other.
	Purge(ctx context.Context, limit int) (int, error)
	// Check looks at what the relay relies on (the schema's version, the sequence's cache, durability). warnings are for
	// the log, err refuses to start; one that wraps bus.ErrUnavailable says that the database could not be asked.
	Check(ctx context.Context) (warnings []string, err error)
}

// Stats of one table.
type Stats struct {
	Pending int64         // rows
	Oldest  time.Duration // age of the oldest row by the database's clock; 0 without rows
	Classes []ClassStats  // each class that has rows or leases, by name
}

// ClassStats of one class of destination.
type ClassStats struct {
	Class      string
	Pending    int64
	Oldest     time.Duration
	Nodes      int  // live nodes
	Consumed   bool // at least one partition has a live owner
	Partitions []PartitionStats
}

// PartitionStats of one partition that has rows or an owner.
type PartitionStats struct {
	Partition int16
	Pending   int64
	Oldest    time.Duration
	Owner     string // node; empty: nobody
	Epoch     int64
}

// Store is a database's outbox; store.Store.Outbox makes one.
type Store interface {
	Writer() Writer
	Queue(t Table) Queue
	Leases() Leases
	Keeper() Keeper
	// Bell rings when rows of t may have been committed: for the writers of this process, and for whoever listens to the
	// database. Always the same one.
	Bell(t Table) *Bell
}

// Range of seqs, both ends included.
type Range struct{ From, To int64 }

// Ownership says which rows a reader needs whole.
type Ownership struct {
	Class string
	// Partitions it holds; index is the partition.
	Partitions [Partitions]bool
}

// All reports whether every partition is held.
func (o *Ownership) All() bool {
	for _, held := range o.Partitions {
		if !held {
			return false
		}
	}
	return true
}

// Leases divides the partitions of a class among the live nodes. A node is one incarnation of one relay or local
// consumer; its id is used once.
type Leases interface {
	// Join registers node, alive for ttl, makes the lease rows of the class where they are missing.
	Join(ctx context.Context, class, node string, ttl time.Duration) error
	// Beat keeps node alive for another ttl and notes mark, the highest seq it has read (0: leave it). It answers the
	// number of live nodes of the class, and how many partitions have no live owner. ErrFenced: node has been taken over.
	Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error)
	// Take removes dead nodes and takes over up to n partitions without a live owner. Of a partition that a dead node
	// held, Suspect is the mark up to which that node may have begun the rows; where countSuspects, their attempts
	// have been raised by one.
	Take(ctx context.Context, class, node string, n int, t Table, countSuspects bool) ([]Lease, error)
	// GiveBack frees partitions that are drained.
	GiveBack(ctx context.Context, class, node string, partitions []int16) error
	// Leave frees everything and removes node.
	Leave(ctx context.Context, class, node string) error
}

// Lease is a partition that was taken.
type Lease struct {
	Partition int16
	Epoch     int64
	Suspect   int64
}
