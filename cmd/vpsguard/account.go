package main

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// account finds out whose servers this process works on, and remembers it.
type account struct {
	client *apiclient.Client
	known  atomic.Pointer[policy.Account]
	asking singleflight.Group
}

// Get gives the account. Where the token may not read it, the API's URL alone
// tells accounts apart. That it could not be asked is an error and never taken
// for that.
func (a *account) Get(ctx context.Context) (policy.Account, error) {
	if known := a.known.Load(); known != nil {
		return *known, nil
	}
	if err := ctx.Err(); err != nil {
		return policy.Account{}, err
	}
	// One caller's end must not fail the others: the client has its own deadline.
	answer := a.asking.DoChan("", func() (any, error) { return a.ask(context.WithoutCancel(ctx)) })
	select {
	case got := <-answer:
		known, _ := got.Val.(policy.Account)
		return known, got.Err
	case <-ctx.Done():
		return policy.Account{}, ctx.Err()
	}
}

func (a *account) ask(ctx context.Context) (policy.Account, error) {
	if known := a.known.Load(); known != nil { // since the caller looked
		return *known, nil
	}
	found := policy.Account{URL: a.client.BaseURL()}
	me, err := a.client.Account(ctx)
	switch apiclient.KindOf(err) {
	case "":
		if err != nil {
			return policy.Account{}, fromAPI(err, "reading the account")
		}
		found.Owner = me.Email
	case apiclient.Forbidden: // this token may not; another answer is a failure
	default:
		return policy.Account{}, fromAPI(err, "reading the account")
	}
	a.known.Store(&found)
	return found, nil
}
