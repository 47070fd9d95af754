package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Record is one row of the audit: append-only, and chained by hashes.
type Record struct {
	Seq  int64  // 1, 2, 3, …
	Body string // the JSON of a [RecordBody], byte for byte as it was hashed
	Prev string // the hash of the record before; "" for the first
	Hash string // of Prev and Body
}

// RecordBody is what a record says.
type RecordBody struct {
	Seq     int64             `json:"seq"`
	At      time.Time         `json:"at"`
	Event   Event             `json:"event"`
	By      Actor             `json:"by"`
	Request string            `json:"request,omitempty"`
	Rev     int64             `json:"rev,omitempty"`
	From    State             `json:"from,omitempty"`
	To      State             `json:"to,omitempty"`
	Digest  string            `json:"digest,omitempty"` // of the plan
	Row     string            `json:"row,omitempty"`    // SHA-256 of the request's row as it was stored
	Detail  map[string]string `json:"detail,omitempty"`
}

// Seal makes the record that follows prev in the chain.
func (b RecordBody) Seal(seq int64, prev string) (Record, error) {
	b.Seq = seq
	raw, err := json.Marshal(b)
	if err != nil {
		return Record{}, err
	}
	r := Record{Seq: seq, Body: string(raw), Prev: prev}
	r.Hash = r.sum()
	return r, nil
}

// Parse reads what the record says.
func (r Record) Parse() (RecordBody, error) {
	var b RecordBody
	err := json.Unmarshal([]byte(r.Body), &b)
	return b, err
}

func (r Record) sum() string {
	sum := sha256.Sum256([]byte(r.Prev + "\n" + r.Body))
	return hex.EncodeToString(sum[:])
}

// Chain checks records one after the other, from the first.
type Chain struct {
	Seq  int64             // of the last good record
	Hash string            // of the last good record
	Rows map[string]string // request id → hash of its row, as last recorded
}

// Link is a record of which everything was checked that it says of itself. To
// make links is what takes time; they may be made concurrently, in any order.
type Link struct {
	record  Record
	seq     int64  // as its body says
	request string // whose row it tells
	row     string
	unread  error
	changed bool
}

// Link checks the record by itself. What is wrong is told by [Chain.Join].
func (r Record) Link() Link {
	var b struct { // of a [RecordBody], what the chain is about
		Seq     int64  `json:"seq"`
		Request string `json:"request"`
		Row     string `json:"row"`
	}
	err := json.Unmarshal([]byte(r.Body), &b)
	return Link{record: r, seq: b.Seq, request: b.Request, row: b.Row, unread: err, changed: r.Hash != r.sum()}
}

// Next checks the record that follows. Its error names the first broken row.
func (c *Chain) Next(r Record) error { return c.Join(r.Link()) }

// Join checks the link that follows, as [Chain.Next] does.
func (c *Chain) Join(l Link) error {
	r := l.record
	switch {
	case l.unread != nil:
		return Errorf(Conflict, "audit record %d cannot be read", r.Seq).Because(l.unread)
	case r.Seq != c.Seq+1 || l.seq != r.Seq:
		return Errorf(Conflict, "audit record %d is missing or out of order; found %d", c.Seq+1, r.Seq)
	case r.Prev != c.Hash:
		return Errorf(Conflict, "audit record %d does not follow the one before it", r.Seq)
	case l.changed:
		return Errorf(Conflict, "audit record %d was changed after it was written", r.Seq)
	}
	c.Seq, c.Hash = r.Seq, r.Hash
	if l.request != "" {
		if c.Rows == nil {
			c.Rows = map[string]string{}
		}
		c.Rows[l.request] = l.row
	}
	return nil
}

// RowHash is the hash of a request's row as it is stored.
func RowHash(row string) string {
	sum := sha256.Sum256([]byte(row))
	return hex.EncodeToString(sum[:])
}
