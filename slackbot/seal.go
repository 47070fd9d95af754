package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// Tasks lie in the ledger, and are done in the name of whom they name. They are
// sealed with a key that is made from the bot token and is not in the ledger, so
// that whoever can write the ledger's file cannot write an approval there.

func sealKey(token string) []byte {
	sum := sha256.Sum256([]byte("vpsguard: tasks that were heard\n" + token))
	return sum[:]
}

// seal puts a seal before what is written in some place.
func (c *client) seal(place string, raw []byte) string {
	return hex.EncodeToString(c.mac(place, raw)) + " " + string(raw)
}

// sealed gives what was sealed, if it was by this app and for that place.
func (c *client) sealed(place, doc string) ([]byte, error) {
	mac, raw, _ := strings.Cut(doc, " ")
	given, err := hex.DecodeString(mac)
	if err != nil || !hmac.Equal(given, c.mac(place, []byte(raw))) {
		return nil, policy.Errorf(policy.Forbidden, "a note does not bear this app's seal")
	}
	return []byte(raw), nil
}

func (c *client) mac(place string, raw []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(place + "\n"))
	h.Write(raw)
	return h.Sum(nil)
}
