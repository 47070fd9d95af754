package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request, and what Slack promises of them:
// https://docs.slack.dev/authentication/verifying-requests-from-slack
const (
	signatureHeader = "X-Slack-Signature"
	timestampHeader = "X-Slack-Request-Timestamp"

	signatureVersion = "v0"
	signatureLength  = len(signatureVersion) + 1 + 2*sha256.Size
	timestampDigits  = 12
	signatureSkew    = 5 * time.Minute
)

// verify tells whether one of the secrets signed this body, at most five minutes
// from now either way. The error says for the log what is wrong, without anything
// of the request. A signature that fits again is no news: see [seen].
func verify(h http.Header, body []byte, secrets []string, now time.Time) error {
	signature, err := onlyValue(h, signatureHeader)
	if err != nil {
		return err
	}
	stamp, err := onlyValue(h, timestampHeader)
	if err != nil {
		return err
	}
	hexa, ok := strings.CutPrefix(signature, signatureVersion+"=")
	if !ok || len(signature) != signatureLength || strings.Trim(hexa, "0123456789abcdef") != "" {
		return errors.New("the signature has another form")
	}
	if stamp == "" || len(stamp) > timestampDigits || strings.Trim(stamp, "0123456789") != "" {
		return errors.New("the timestamp has another form")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("the timestamp has another form")
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > signatureSkew {
		return fmt.Errorf("the timestamp is %v off this clock", off.Round(time.Second))
	}
	given, err := hex.DecodeString(hexa)
	if err != nil {
		return errors.New("the signature has another form")
	}
	fits := false
	for _, secret := range secrets {
		if secret == "" {
			continue // anybody can sign with that
		}
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = mac.Write([]byte(signatureVersion + ":" + stamp + ":"))
		_, _ = mac.Write(body)
		fits = hmac.Equal(mac.Sum(nil), given) || fits
	}
	if !fits {
		return errors.New("the signature is of no secret known here")
	}
	return nil
}

// onlyValue is the value of a header that must be there once.
func onlyValue(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 0:
		return "", fmt.Errorf("there is no %s", name)
	case 1:
		return values[0], nil
	default:
		return "", fmt.Errorf("there is more than one %s", name)
	}
}
