package main

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

func newAccount(t *testing.T) (*account, *vpsfake.Fake) {
	t.Helper()
	fake := vpsfake.New(vpsfake.Options{})
	api := httptest.NewServer(fake)
	t.Cleanup(api.Close)
	client, err := apiclient.New(api.URL+vpsfake.BasePath, fake.Token(), apiclient.Options{Timeout: 2 * time.Second, Backoff: time.Millisecond})
	require.NoError(t, err)
	return &account{client: client}, fake
}

func TestTheAccountIsReadOnce(t *testing.T) {
	t.Parallel()
	a, fake := newAccount(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			got, err := a.Get(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, policy.Account{URL: a.client.BaseURL(), Owner: "ops@example.com"}, got)
		})
	}
	all.Wait()
	_, err := a.Get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, fake.Reads("/account/me/"))
}

func TestAnAccountThatCannotBeReadIsNotTakenForOneThatMayNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault string
		kind  policy.Kind // "" where the URL alone is the account
	}{
		{vpsfake.Forbidden, ""},
		{vpsfake.NotFound, policy.Unavailable},
		{vpsfake.Unauthorized, policy.Forbidden},
		{vpsfake.Error500, policy.Unavailable},
		{vpsfake.Reset, policy.Unavailable},
		{vpsfake.HTML, policy.Unavailable},
		{vpsfake.Empty, policy.Unavailable},
		{vpsfake.Foreign, policy.Unavailable},
		{vpsfake.RateLimited, policy.Unavailable},
		{vpsfake.Conflict, policy.Unavailable},
		{vpsfake.EchoToken, policy.Unavailable},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			a, fake := newAccount(t)
			fake.Inject(vpsfake.Fault{Name: c.fault, PathPrefix: "/account/me/"})
			got, err := a.Get(t.Context())
			assert.Equal(t, c.kind, policy.KindOf(err))
			if c.kind == "" {
				assert.Equal(t, policy.Account{URL: a.client.BaseURL()}, got)
				return
			}
			assert.NotContains(t, err.Error(), fake.Token())
			fake.Heal()
			got, err = a.Get(t.Context())
			require.NoError(t, err, "a failure is not remembered")
			assert.Equal(t, "ops@example.com", got.Owner)
		})
	}
}

func TestOneCallersEndDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	a, fake := newAccount(t)
	fake.Inject(vpsfake.Fault{Name: vpsfake.Slow, Delay: 50 * time.Millisecond, PathPrefix: "/account/me/"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := a.Get(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = a.Get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, fake.Reads("/account/me/"), "the question went on")
}
