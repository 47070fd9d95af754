package policy

import (
	"context"
	"time"
)

// Ledger stores requests, the audit and a few settings. This is the contract
// that every implementation keeps, on SQLite and on PostgreSQL, for any number
// of processes on one database; policytest proves it.
//
//   - Changes are serial: between the first read inside [Ledger.Change] and its
//     commit, nothing else changes the ledger, in whichever process.
//   - What the function of a Change has put is committed whole, durably, before
//     Change returns nil. If the function fails, nothing is stored. If the commit
//     fails, it counts as not stored, although a connection that broke after the
//     commit cannot tell: nothing may be sent to VPS.org then.
//   - A change of a request and its audit record are one call ([Tx.Put]).
//   - A nudge is delivered to some worker of the same account, at least roughly
//     on time; it may come late, twice or never.
//   - Errors of storage are of kind [Unavailable], and never hold what was stored.
//
// All methods may be called concurrently. Inside a Change only the Tx is used.
type Ledger interface {
	Reader

	// Change runs f in one serial transaction.
	Change(ctx context.Context, f func(ctx context.Context, tx Tx) error) error

	// Await returns nil when the audit has grown beyond after, by whichever
	// process, or the context's error. It holds no connection meanwhile.
	Await(ctx context.Context, after int64) error

	// PutNote stores a note by itself, outside the audit and beside changes: it
	// may come between what a Change reads of notes and its commit. n.Rev must be the
	// stored one, 0 for a new note; otherwise it fails with [Conflict]. It
	// returns the note as it is stored.
	PutNote(ctx context.Context, n Note) (Note, error)

	// DropNote removes a note, if its Rev is the stored one; otherwise it fails
	// with [Conflict]. One that is not there is dropped already.
	DropNote(ctx context.Context, n Note) error
}

// Reader reads. Outside a transaction each call sees what is committed.
type Reader interface {
	// Now is the clock that decides: the database's on PostgreSQL, the host's on
	// SQLite. UTC, whole milliseconds.
	Now(ctx context.Context) (time.Time, error)

	// Head is the number of the last audit record; 0 where there is none.
	Head(ctx context.Context) (int64, error)

	// Request gives one request; [NotFound] where there is none.
	Request(ctx context.Context, id string) (Request, error)

	// Requests gives those that a filter lets through, newest first, at most
	// Filter.Limit of them, and how many there are without limit and cursor.
	Requests(ctx context.Context, f Filter) ([]Request, int, error)

	// Setting gives a setting; "" where it was never put.
	Setting(ctx context.Context, name string) (string, error)

	// Note gives a note; [NotFound] where there is none.
	Note(ctx context.Context, scope, key string) (Note, error)

	// Notes gives those of a scope that are due at a time, the longest due
	// first, at most limit of them.
	Notes(ctx context.Context, scope string, due time.Time, limit int) ([]Note, error)
}

// Tx is a transaction.
type Tx interface {
	Reader

	// Put stores a request and its record together. r.Rev must be the stored
	// one, 0 for a new request (then Seq becomes the record's number); otherwise
	// it fails with [Conflict], as it does for an unknown id. It fills in the
	// record's Seq, At, Request, Rev, Digest and Row, and returns the request as
	// it is stored. Seq never changes later.
	Put(ctx context.Context, r Request, b RecordBody) (Request, error)

	// PutSetting stores a setting and its record together; the record's detail
	// names the setting, and its Row is a hash of name and value.
	PutSetting(ctx context.Context, name, value string, b RecordBody) error

	// Append adds a record of something that changed nothing, such as a refusal.
	// Where it names a request, Rev, Digest and Row are that one's as it stands.
	Append(ctx context.Context, b RecordBody) error

	// Nudge has a worker of the request's account call [Service.Advance] at or
	// after a time, once the transaction is committed.
	Nudge(ctx context.Context, r Request, at time.Time) error

	// Tell marks the note of a request ([ToldScope], its id) as due now, making
	// it where there is none, and has a worker for doors look at it once the
	// transaction is committed. What the note says stays; its Rev grows. One that is
	// due already may stay due since then, for whoever was to look at it.
	Tell(ctx context.Context, r Request) error
}

// Note is something that a door remembers: where it has shown a request, or what
// it was told and has to do yet. None is audited, and whoever can write the
// database can write one: what a door does because of a note alone, it seals.
type Note struct {
	Scope string    // whose notes these are
	Key   string    // unique in its scope
	Rev   int64     // counts changes; the compare-and-swap is on it
	DueAt time.Time // when somebody should look at it next, UTC, whole milliseconds; zero for never
	Doc   string    // the door's own, up to 64 kB
}

// ToldScope is the scope of the notes on requests of an account that doors show
// to people. The key of such a note is the request's id.
func ToldScope(a Account) string { return "told " + digest(a)[:16] }

// Filter says which requests are meant. Zero fields do not filter.
type Filter struct {
	States     []State
	Account    *Account
	ServerID   int64
	ServerName string // exact
	Actor      string // [Actor.Key]
	Purpose    string
	Aim        string
	BegunAfter int64     // Begun is set, and greater
	EndedAfter time.Time // EndedAt is later
	DueBy      time.Time // DueAt is set, and not later
	Before     int64     // cursor: Seq is smaller
	Limit      int       // at most 1000; 0 means 1000
	NoTotal    bool      // the total is not asked for, and may be anything
}

// mostRows is how many requests [Reader.Requests] gives at most.
const mostRows = 1000
