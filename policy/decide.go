package policy

import (
	"context"
	"time"
)

// Decide adds a person's agreement to a held request.
func (s *Service) Decide(ctx context.Context, id string, v Verdict) (Request, error) { panic(0) }

// Deny ends a held request: one person's no is enough.
func (s *Service) Deny(ctx context.Context, id string, v Verdict) (Request, error) { panic(0) }

// Cancel withdraws a request whose deciding step has not started.
func (s *Service) Cancel(ctx context.Context, id string, by Actor) (Request, error) { panic(0) }

// Settle records what a person says of an uncertain request. It sends nothing.
func (s *Service) Settle(ctx context.Context, id string, v Verdict, to State) (Request, error) {
	panic(0)
}

// SetPassphrase sets or changes the ledger's passphrase.
func (s *Service) SetPassphrase(ctx context.Context, by Actor, old, passphrase string) error {
	panic(0)
}

// Advance moves a request on as far as it goes now, and tells after which time
// somebody should call again; 0 means that nothing is left to do.
func (s *Service) Advance(ctx context.Context, id string) (time.Duration, error) { panic(0) }

// Sweep advances every request of this account that is due.
func (s *Service) Sweep(ctx context.Context) (int, error) { panic(0) }
