package operations

import (
	"errors"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// told converts an error of the API's client at the border: the kind, and a
// sentence for people. What the API itself said is shown too; it was cleaned
// and cut by the client.
func told(doing string, err error) error {
	if err == nil {
		return nil
	}
	said := ""
	var e *apiclient.Error
	if errors.As(err, &e) && e.Message != "" && e.Status != 0 {
		said = "; VPS.org says: " + policy.Clean(e.Message, 300)
	}
	switch apiclient.KindOf(err) {
	case apiclient.Invalid:
		return policy.Errorf(policy.Invalid, "VPS.org refused %s%s", doing, said).Because(err)
	case apiclient.NotFound:
		return policy.Errorf(policy.NotFound, "VPS.org knows no such thing (%s)%s", doing, said).Because(err)
	case apiclient.Conflict:
		return policy.Errorf(policy.Conflict, "VPS.org does not allow %s now%s", doing, said).Because(err)
	case apiclient.Unauthorized:
		return policy.Errorf(policy.Forbidden, "VPS.org does not accept the API token (%s)", doing).
			WithHint("The operator checks VPSGUARD_API_TOKEN.").Because(err)
	case apiclient.Forbidden:
		return policy.Errorf(policy.Forbidden, "the API token may not do this: %s%s", doing, said).
			WithHint("The operator checks the token's permissions at VPS.org.").Because(err)
	case apiclient.RateLimited:
		return policy.Errorf(policy.Unavailable, "VPS.org asks to slow down (%s); nothing was changed", doing).
			WithHint("Try again in a minute.").Because(err)
	case apiclient.Unavailable, apiclient.Malformed:
		return policy.Errorf(policy.Unavailable, "VPS.org could not be reached or gave no usable answer (%s); nothing was changed", doing).
			WithHint("Try again in a minute.").Because(err)
	case apiclient.Uncertain:
		return policy.Errorf(policy.Uncertain, "no clear answer came back (%s)%s", doing, said).Because(err)
	default:
		return policy.Errorf(policy.Uncertain, "no clear answer came back (%s)", doing).Because(err)
	}
}
