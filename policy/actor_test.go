package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
)

func TestActorsAsPeopleReadThem(t *testing.T) {
	assert.Equal(t, "Ada (terminal)", ada.String())
	assert.Equal(t, "os:agent (mcp)", agent.String())
	assert.Equal(t, "vpsguard", policy.Actor{Subject: "vpsguard", Name: "vpsguard"}.String(), "the program itself came through no door")
}
