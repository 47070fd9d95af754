package policy_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// TestWhoMayOnlyReadChangesNothing calls all that is no read, as callers whose door
// gave them no right to it, also as the one who asked when they still had it.
func TestWhoMayOnlyReadChangesNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for _, role := range []policy.Role{policy.RoleRead, "", "admin", "Operate"} {
		reader := agent
		held := h.file(s, agent, "delete_snapshot", delete798)
		reader.Role = role
		before := len(h.ledger.Records())
		for _, d := range s.Catalogue() {
			args := map[string]any{}
			for _, a := range d.Arguments {
				switch {
				case !a.Required:
				case a.Name == "request_id":
					args[a.Name] = held.ID
				case a.Type == policy.Integer:
					args[a.Name] = max(a.Min, 1)
				case a.Name == "server":
					args[a.Name] = "web-server-01"
				default:
					args[a.Name] = "x"
				}
			}
			raw, err := json.Marshal(args)
			require.NoError(t, err)
			_, err = s.Call(context.Background(), policy.Call{Actor: reader, Operation: d.Name, Arguments: raw})
			if d.Effect == policy.Read {
				assert.NoError(t, err, d.Name)
			} else {
				says(t, err, policy.Forbidden, "this caller may read")
			}
		}
		_, err := s.Cancel(context.Background(), held.ID, reader)
		says(t, err, policy.Forbidden, "this caller may read")
		assert.Len(t, h.ledger.Records(), before, "nothing was filed, decided or withdrawn")
		_, err = s.Decide(context.Background(), held.ID, yes(held, policy.Actor{Door: policy.DoorTerminal, Subject: "ada", Role: policy.RoleRead}))
		says(t, err, policy.Forbidden, "this caller may read")
		assert.Equal(t, policy.StateHeld, h.get(held.ID).State)
	}
	h.sound()
}

// TestWhomACredentialWasMadeForIsStored: who stands behind an agent goes with the
// request, and with what it is called when somebody else has to approve.
func TestWhomACredentialWasMadeForIsStored(t *testing.T) {
	h := newHouse(t)
	s := h.ruled(&policy.Conditions{Approvals: 1, NotRequester: true}, nil)
	known := map[string]bool{"Ada": true, "Grace": true}
	s.Person = func(a policy.Actor) string {
		if known[a.Person] {
			return a.Person
		}
		return map[string]string{"slack:U1": "Ada", "slack:U2": "Grace"}[a.Key()]
	}
	hers := agent
	hers.Person = "Ada"
	r := h.file(s, hers, "delete_snapshot", delete798)
	assert.Equal(t, "Ada", h.get(r.ID).Person)
	assert.Equal(t, "Ada", h.get(r.ID).Actor.Person)
	_, err := s.Decide(context.Background(), r.ID, slackYes(r, "U1"))
	says(t, err, policy.Forbidden, "You asked for it")
	_, err = s.Decide(context.Background(), r.ID, slackYes(r, "U2"))
	require.NoError(t, err)

	strange := agent
	strange.Person = "ada"
	r = h.file(s, strange, "delete_snapshot", strings.Replace(delete798, "798", "801", 1))
	for _, user := range []string{"U1", "U2"} {
		_, err = s.Decide(context.Background(), r.ID, slackYes(r, user))
		says(t, err, policy.Forbidden, "was made for ada, and people in the rules does not say so")
	}
}
