package slackbot

import (
	"context"

	"github.com/vpsguard/vpsguard/policy"
)

// Gate is what the door opens to: a [policy.Service].
type Gate interface {
	// Catalogue is what can be called, as data.
	Catalogue() []policy.Descriptor
	// Call is how everything that is not a decision comes in.
	Call(ctx context.Context, c policy.Call) (policy.Outcome, error)
	// Show tells how a request stands.
	Show(ctx context.Context, id string) (policy.Standing, error)
	// Decide, Deny and Cancel are what people do with a request. Who may is
	// found out behind the gate.
	Decide(ctx context.Context, id string, v policy.Verdict) (policy.Request, error)
	Deny(ctx context.Context, id string, v policy.Verdict) (policy.Request, error)
	Cancel(ctx context.Context, id string, by policy.Actor) (policy.Request, error)
}
