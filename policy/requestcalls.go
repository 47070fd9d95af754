package policy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// requestCalls are the three calls on requests themselves, for every door.
func (s *Service) requestCalls() []Operation {
	id := Argument{Name: "request_id", Type: String, Required: true, Max: 30, About: "Id of the request, rq_…"}
	states := make([]string, 0, len(States()))
	for _, st := range States() {
		states = append(states, string(st))
	}
	return []Operation{{
		Descriptor: Descriptor{
			Name: "list_requests", Title: "List requests", Noun: "request", Verb: "list", Effect: Read, Idempotent: true,
			Summary: "Requests filed here, newest first, with their states.",
			Arguments: []Argument{
				{Name: "state", Type: String, Max: 20, Enum: states, About: "Only these"},
				{Name: "server", Type: String, Max: 200, Of: "server", About: "Id or exact name"},
				LimitArgument, CursorArgument,
			},
			Rows: "requests",
			Record: []Field{
				{"id", "string", false},
				{"operation", "string", false},
				{"state", "string", false},
				{"server", "string", false},
				{"target", "string", true},
				{"requester", "string", false},
				{"filed_at", "string", false},
				{"approve_by", "string", true},
			},
		},
		Answer: s.listRequests,
	}, {
		Descriptor: Descriptor{
			Name: "get_request", Title: "Get a request", Noun: "request", Verb: "show", Effect: Read, Idempotent: true,
			Summary: "How a request stands. With wait_seconds it answers when the state changes, at the latest then; call again to go on waiting.",
			Arguments: []Argument{id, {
				Name: "wait_seconds", Type: Integer, Max: int64(maxWait / time.Second), About: "Wait for a change",
			}},
		},
		Answer: s.getRequest,
	}, {
		Descriptor: Descriptor{
			Name: "cancel_request", Title: "Cancel a request", Noun: "request", Verb: "cancel", Effect: Create, Idempotent: true,
			Summary:   "Withdraw your own request, as long as the step that changes something has not started.",
			Arguments: []Argument{id},
		},
		Answer: s.cancelRequest,
	}}
}

// LimitArgument and CursorArgument bound every list.
var (
	LimitArgument  = Argument{Name: "limit", Type: Integer, Min: 1, Max: 100, Default: 20, About: "Rows at most"}
	CursorArgument = Argument{Name: "cursor", Type: String, Max: 40, About: "next_cursor of the page before"}
)

// DefaultLimit is how many rows a list gives unless told.
const DefaultLimit = 20

type requestRow struct {
	ID        string `json:"id"`
	Operation string `json:"operation"`
	State     State  `json:"state"`
	Server    string `json:"server"`
	Target    string `json:"target,omitempty"`
	Requester string `json:"requester"`
	FiledAt   string `json:"filed_at"`
	ApproveBy string `json:"approve_by,omitempty"`
}

func (s *Service) listRequests(ctx context.Context, c Call, a Arguments) (Outcome, error) {
	limit := int(a.Number("limit", DefaultLimit))
	f := Filter{Limit: limit + 1} // one more tells whether there is a next page
	if st := State(a.Text("state")); st != "" {
		f.States = []State{st}
	}
	if server := a.Text("server"); server != "" {
		id, err := strconv.ParseInt(server, 10, 64)
		if err == nil {
			f.ServerID = id
		} else {
			f.ServerName = server
		}
	}
	if cursor := a.Text("cursor"); cursor != "" {
		seq, err := strconv.ParseInt(cursor, 10, 64)
		if err != nil || seq < 1 {
			return Outcome{}, Errorf(Invalid, "%q is not a cursor", Clean(cursor, 30)).WithHint("Use next_cursor of the page before.")
		}
		f.Before = seq
	}
	if c.Actor.Door != DoorTerminal { // others see what is theirs
		account, err := s.Account(ctx)
		if err != nil {
			return Outcome{}, err
		}
		f.Account = &account
	}
	found, total, err := s.Ledger.Requests(ctx, f)
	if err != nil {
		return Outcome{}, err
	}
	l := &Listing{Title: "Requests", Total: total}
	if len(found) > limit {
		found = found[:limit]
		l.Next = strconv.FormatInt(found[limit-1].Seq, 10)
	}
	for _, r := range found {
		r = r.At(c.At)
		row := requestRow{
			r.ID, r.Operation, r.State, Fit(r.Plan.Server.Name, 40), "", Fit(r.Actor.Name, 40), r.FiledAt.Format(time.RFC3339), "",
		}
		if r.Plan.Target != nil {
			row.Target = r.Plan.Target.short()
		}
		if n := len(r.Plan.Targets); n > 0 {
			row.Target = count(int64(n), r.Plan.Targets[0].Kind)
		}
		if r.State == StateHeld {
			row.ApproveBy = r.ApproveBy.Format(time.RFC3339)
		}
		l.Rows = append(l.Rows, Row{
			Text:    Fit(fmt.Sprintf("%s %s: %s", r.ID, r.State, r.Plan.Summary), 75) + ", " + Ago(r.FiledAt, c.At),
			Data:    row,
			Request: r.ID, Server: r.Plan.Server,
		})
	}
	return Outcome{Listing: l}, nil
}

func (s *Service) getRequest(ctx context.Context, c Call, a Arguments) (Outcome, error) {
	id, err := ParseRequestID(a.Text("request_id"))
	if err != nil {
		return Outcome{}, err
	}
	if c.Actor.Door != DoorTerminal {
		account, err := s.Account(ctx)
		if err != nil {
			return Outcome{}, err
		}
		if r, err := s.Ledger.Request(ctx, id); err == nil && r.Account != account {
			return Outcome{}, Errorf(NotFound, "there is no request %s", id)
		}
	}
	if wait := time.Duration(a.Number("wait_seconds", 0)) * time.Second; wait > 0 {
		s.awaitChange(ctx, c, id, wait)
	}
	return s.outcome(ctx, c, id, false)
}

func (s *Service) cancelRequest(ctx context.Context, c Call, a Arguments) (Outcome, error) {
	id, err := ParseRequestID(a.Text("request_id"))
	if err != nil {
		return Outcome{}, err
	}
	if _, err := s.Cancel(ctx, id, c.Actor); err != nil {
		return Outcome{}, err
	}
	return s.outcome(ctx, c, id, false)
}

// Show tells how a request stands.
func (s *Service) Show(ctx context.Context, id string) (Standing, error) {
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return Standing{}, err
	}
	r, err := s.Ledger.Request(ctx, id)
	if err != nil {
		return Standing{}, err
	}
	st := Standing{Request: r.At(now), Now: now, Agreed: s.agreed(r, r.Conditions.Ways)}
	if !st.Request.State.Open() {
		return st, nil
	}
	others, err := openOn(ctx, s.Ledger, r)
	if err != nil {
		return Standing{}, err
	}
	for _, o := range others {
		if o = o.At(now); !o.State.Open() || o.ID == r.ID {
			continue
		}
		st.Others = append(st.Others, o.ID)
		waiting := st.Request.State == StateHeld || st.Request.State == StateApproved
		if waiting && r.blockedBy(o, now) {
			st.WaitsFor = append(st.WaitsFor, o.ID)
		}
	}
	return st, nil
}

// openOn gives the open requests on a request's server, of every account at its API.
func openOn(ctx context.Context, from Reader, r Request) ([]Request, error) {
	found, err := all(ctx, from, Filter{ServerID: r.Plan.Server.ID, States: OpenStates()})
	return slices.DeleteFunc(found, func(o Request) bool { return !o.Account.sees(r.Account) }), err
}

// all gives every request that a filter lets through, page by page: what is
// decided on must not depend on how many others there are.
func all(ctx context.Context, from Reader, f Filter) (out []Request, err error) {
	for {
		page, _, err := from.Requests(ctx, f)
		if err != nil {
			return nil, err
		}
		if out = append(out, page...); len(page) < mostRows {
			return out, nil
		}
		f.Before = page[len(page)-1].Seq
	}
}

// awaitChange returns when the request's state changed, or the time is over.
// It holds nothing while it waits.
func (s *Service) awaitChange(ctx context.Context, c Call, id string, wait time.Duration) {
	first := State("")
	s.await(ctx, c, id, wait, func(r Request) bool {
		if first == "" {
			first = r.State
		}
		return r.State != first || !r.State.Open()
	})
}

// awaitEnd returns when the request has ended or is uncertain, or the time is over.
func (s *Service) awaitEnd(ctx context.Context, c Call, id string, wait time.Duration) {
	s.await(ctx, c, id, wait, func(r Request) bool { return !slices.Contains([]State{StateApproved, StateRunning}, r.State) })
}

// lull is how long whoever waits is told nothing where nothing changes.
func lull(ctx context.Context) (context.Context, func()) {
	return context.WithTimeout(ctx, 5*time.Second)
}

func (s *Service) await(ctx context.Context, c Call, id string, wait time.Duration, enough func(Request) bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	told, quiet, end := int64(-1), ctx, func() {}
	defer func() { end() }()
	for {
		head, err := s.Ledger.Head(ctx)
		if err != nil {
			return
		}
		st, err := s.Show(ctx, id)
		if err != nil || enough(st.Request) {
			return
		}
		if c.News != nil && (st.Request.Rev != told || quiet.Err() != nil) {
			told = st.Request.Rev
			st.Request = st.Request.For(c.Actor)
			c.News(st)
			end()
			quiet, end = lull(ctx)
		}
		if err := s.Ledger.Await(quiet, head); err != nil && (ctx.Err() != nil || quiet.Err() == nil) {
			return
		}
	}
}
