package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestSignaturesOfTheCorpus(t *testing.T) {
	for _, r := range slackfake.SignatureCorpus(slackfake.Epoch) {
		err := verify(r.Header(), []byte(r.Body), r.Secrets, time.Unix(r.Now, 0))
		assert.Equal(t, r.Valid, err == nil, "%s: %v", r.Name, err)
	}
}

func TestSignaturesBesideTheCorpus(t *testing.T) {
	now, body := slackfake.Epoch, []byte("command=%2Fvps")
	const secret = slackfake.DefaultSecret
	for _, row := range []struct {
		name   string
		change func(http.Header)
		ok     bool
	}{
		{"as Slack does it", func(http.Header) {}, true},
		{"two signatures", func(h http.Header) { h.Add(signatureHeader, h.Get(signatureHeader)) }, false},
		{"two timestamps", func(h http.Header) { h.Add(timestampHeader, h.Get(timestampHeader)) }, false},
		{"no timestamp", func(h http.Header) { h.Del(timestampHeader) }, false},
		{"an empty timestamp", func(h http.Header) { h.Set(timestampHeader, "") }, false},
		{"a space after", func(h http.Header) { h.Set(signatureHeader, h.Get(signatureHeader)+" ") }, false},
		{"a letter that is no hex", func(h http.Header) { s := h.Get(signatureHeader); h.Set(signatureHeader, s[:20]+"g"+s[21:]) }, false},
		{"longer", func(h http.Header) { h.Set(signatureHeader, h.Get(signatureHeader)+"00") }, false},
	} {
		h := slackfake.Sign(secret, now, body)
		row.change(h)
		assert.Equal(t, row.ok, verify(h, body, []string{secret}, now) == nil, row.name)
	}
}

// signatureOf signs whatever timestamp it gets.
func signatureOf(secret, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + string(body)))
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

func TestTimestampsAreDigits(t *testing.T) {
	const secret = slackfake.DefaultSecret
	body := []byte("x")
	now := slackfake.Epoch
	for _, stamp := range []string{"+1773457200", "-1773457200", " 1773457200", "1773457200 ", "1773457200.0", "1.77e9", "0x69b4ccb0", "١٧٧٣٤٥٧٢٠٠", "99999999999999999999"} {
		// Signed with this very text, so that nothing but its form is wrong.
		h := http.Header{signatureHeader: {signatureOf(secret, stamp, body)}, timestampHeader: {stamp}}
		assert.ErrorContains(t, verify(h, body, []string{secret}, now), "timestamp", stamp)
	}
}

func TestFiveMinutesAreFiveMinutes(t *testing.T) {
	const secret = slackfake.DefaultSecret
	h := slackfake.Sign(secret, slackfake.Epoch, nil)
	for off, ok := range map[time.Duration]bool{
		5 * time.Minute: true, 5*time.Minute + 1: false, -5 * time.Minute: true, -5*time.Minute - 1: false,
	} {
		assert.Equal(t, ok, verify(h, nil, []string{secret}, slackfake.Epoch.Add(off)) == nil, off)
	}
}

func TestAnEmptySecretSignsNothing(t *testing.T) {
	h := slackfake.Sign("", slackfake.Epoch, nil)
	assert.Error(t, verify(h, nil, []string{"", slackfake.DefaultSecret}, slackfake.Epoch))
	assert.Error(t, verify(h, nil, nil, slackfake.Epoch))
}

func TestTheReasonHoldsNothingOfTheRequest(t *testing.T) {
	h := slackfake.Sign("other", slackfake.Epoch, []byte("hush"))
	err := verify(h, []byte("hush"), []string{slackfake.DefaultSecret}, slackfake.Epoch)
	assert.EqualError(t, err, "the signature is of no secret known here")
}
