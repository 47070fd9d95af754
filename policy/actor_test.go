package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
)

func TestActorsAsPeopleReadThem(t *testing.T) {
	assert.Equal(t, "Ada (terminal)", ada.String())
	assert.Equal(t, "os:agent (mcp)", agent.String())
	for name, a := range map[string]policy.Actor{
		`"grace\" (slack), \"x" (slack)`:    {Door: policy.DoorSlack, Subject: "T1:U1", Name: `grace" (slack), "x`},
		`"grace (slack)" (mcp)`:             {Door: policy.DoorMCP, Subject: "oidc:https://id.example#7f3", Name: "grace (slack)"},
		"oidc:https://id.example#7f3 (mcp)": {Door: policy.DoorMCP, Subject: "oidc:https://id.example#7f3", Name: "\u200b"},
		"nightly (mcp)":                     {Door: policy.DoorMCP, Subject: "token:7f3", Name: "nightly"},
	} {
		assert.Equal(t, name, a.String(), "in quotes where they may have chosen it")
	}
	assert.Equal(t, "vpsguard", policy.Actor{Subject: "vpsguard", Name: "vpsguard"}.String(), "the program itself came through no door")
}
