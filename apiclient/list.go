package apiclient

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	maxPages = 10_000
	maxItems = 1_000_000
)

// row is an item of a list as it stands on the wire.
type row interface {
	ident() int64
	// check returns a *contentError if the item cannot be trusted.
	check() error
}

// page is one answer to a list call. Shared by all callers of a flight: nobody
// writes to it.
type page[R row] struct {
	rows  []R
	next  string
	count int64
}

// decodePage reads an envelope {"count", "results", "next"} or a bare array.
// Only the envelope is documented, without "next"; null results are none, but a
// body that has no results at all is no list.
func decodePage[R row](body []byte) (*page[R], error) {
	p := new(page[R])
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		if err := unmarshal(body, &p.rows); err != nil {
			return nil, err
		}
		return p, checkRows(p.rows)
	}
	// Decoding replaces the slice if the key is there, be it by nil or by an
	// empty one: room for one item without an item means that it was not.
	envelope := struct {
		Count   int64   `json:"count"`
		Next    *string `json:"next"`
		Results []R     `json:"results"`
	}{Results: make([]R, 0, 1)}
	if err := unmarshal(body, &envelope); err != nil {
		return nil, err
	}
	if len(envelope.Results) == 0 && cap(envelope.Results) == 1 {
		return nil, contentErrorf("the answer is no list")
	}
	p.rows, p.count = envelope.Results, envelope.Count
	if envelope.Next != nil {
		p.next = *envelope.Next
	}
	return p, checkRows(p.rows)
}

func checkRows[R row](rows []R) error {
	for _, r := range rows {
		if r.ident() <= 0 {
			return contentErrorf("an item has no positive id")
		}
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

// list reads all pages of a list, each item once, in the API's order.
func list[R row](ctx context.Context, c *Client, doing, path string, query url.Values) ([]R, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r := c.request(http.MethodGet, path, doing)
	r.url.RawQuery = query.Encode()
	r.accepts = func(status int) bool { return status == http.StatusOK }
	r.decode = func(body []byte) (any, error) { return decodePage[R](body) }

	var rows []R
	got := int64(0)
	seen := make(map[int64]struct{})
	visited := map[string]struct{}{r.url.String(): {}}
	for range maxPages {
		value, err := c.read(ctx, r)
		if err != nil {
			return nil, err
		}
		p, ok := value.(*page[R])
		if !ok {
			return nil, c.malformed(r, "the answer is no list")
		}
		got += int64(len(p.rows))
		for _, item := range p.rows {
			if _, twice := seen[item.ident()]; !twice {
				seen[item.ident()] = struct{}{}
				rows = append(rows, item)
			}
		}
		switch {
		case len(rows) > maxItems:
			return nil, c.malformed(r, "the list has more than a million items")
		case p.next == "" && got < p.count:
			return nil, c.malformed(r, "the list is incomplete: it holds fewer items than it counts")
		case p.next == "":
			return rows, nil
		}
		if r.url, err = c.follow(r.url, p.next); err != nil {
			return nil, c.malformed(r, err.Error())
		}
		if _, again := visited[r.url.String()]; again {
			return nil, c.malformed(r, "the pages of the list form a loop")
		}
		visited[r.url.String()] = struct{}{}
	}
	return nil, c.malformed(r, "the list has more than 10,000 pages")
}

// follow resolves the link to a next page, dots included. Paging is not
// documented: the link is followed only where the token may go anyway. The errors
// never quote it.
func (c *Client) follow(from *url.URL, next string) (*url.URL, error) {
	u, err := from.Parse(next)
	if err != nil {
		return from, contentErrorf("the link to the next page is no URL")
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	u.Host = trimPort(u)
	u.Fragment, u.RawFragment, u.ForceQuery = "", "", false
	switch {
	case u.Scheme != c.base.Scheme || u.Host != c.base.Host || u.User != nil || u.Opaque != "":
		return from, contentErrorf("the link to the next page leads to another origin")
	case u.RawPath != "" || !strings.HasPrefix(u.Path, c.base.Path+"/"):
		return from, contentErrorf("the link to the next page leads out of the API")
	case !strings.HasSuffix(u.Path, "/"):
		return from, contentErrorf("the path of the link to the next page does not end in a slash")
	}
	return u, nil
}

func (c *Client) malformed(r request, message string) *Error {
	e := c.newError(r, Malformed)
	e.Message = c.clean(message)
	return e
}

// anID is a segment of a path that is a number.
var anID = regexp.MustCompile(`/-?[0-9]+/`)

// request begins a request for a path under the base URL; the path begins and
// ends in "/".
func (c *Client) request(method, path, doing string) request {
	u := *c.base
	u.Path += path
	return request{doing: doing, method: method, url: &u, endpoint: method + " " + anID.ReplaceAllString(path, "/{id}/")}
}
