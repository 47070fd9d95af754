package policy

import (
	"strconv"
	"time"
)

// Outcome is what a door renders: a listing, or how a request stands.
type Outcome struct {
	Listing  *Listing
	Standing *Standing
}

// Listing is what a list found: some rows, and how many there are.
type Listing struct {
	Title  string // "Snapshots of web-server-01 (12345)"
	Total  int    // before limit and cursor
	Rows   []Row
	Next   string   // cursor of the next page; "" on the last
	Detail any      // a struct whose JSON fields stand beside the rows; may be nil
	Lines  []string // the same for reading
}

// Row is one row of a listing.
type Row struct {
	Text string // one line, at most 100 bytes
	Data any    // a struct that is the row in structured results
	// What the row is about, for doors that offer actions on it.
	Server  Server
	Point   *Point
	Request string
}

// Standing is how a request stands at a moment.
type Standing struct {
	Request  Request // as its clocks say
	Now      time.Time
	Again    bool     // the call repeated this request; nothing new was filed
	Note     string   // one sentence about this call, where it needs one
	Form     *Form    // to be shown to the caller's user; nil mostly
	Agreed   int      // different people whose approvals count so far
	WaitsFor []string // ids of the requests that keep it from starting
	Others   []string // ids of the other open requests on its server
}

// Page cuts a page out of all rows. The cursor is the number of rows to skip.
func Page[T any](all []T, cursor string, limit int64) (page []T, next string, err error) {
	from := 0
	if cursor != "" {
		if from, err = strconv.Atoi(cursor); err != nil || from < 0 {
			return nil, "", Errorf(Invalid, "%q is not a cursor", Clean(cursor, 30)).
				WithHint("Use next_cursor of the page before, or leave it out for the first page.")
		}
	}
	from = min(from, len(all))
	to := min(from+int(limit), len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, nil
}
