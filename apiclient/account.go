package apiclient

import (
	"context"
	"net/http"
	"time"
)

// Account is the account behind the token and what the token may do (API
// documentation, "Account").
type Account struct {
	Email       string
	FirstName   string
	LastName    string
	CompanyName string
	// CreatedAt is a day: midnight UTC.
	CreatedAt time.Time
	// TokenName is the name the token was given, never the token.
	TokenName   string
	Permissions []string
}

type wireAccount struct {
	Account *struct {
		Email       string `json:"email"`
		FirstName   string `json:"first_name"`
		LastName    string `json:"last_name"`
		CompanyName string `json:"company_name"`
		CreatedAt   moment `json:"created_at"`
	} `json:"account"`
	Token struct {
		Name        string  `json:"name"`
		Permissions []loose `json:"permissions"`
	} `json:"token"`
}

// Account reads the account. Any active token may do that, so it is the harmless
// way to find out whether a token is good: [Unauthorized] says it is not.
func (c *Client) Account(ctx context.Context) (Account, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r := c.request(http.MethodGet, "/account/me/", "reading the account")
	r.accepts = func(status int) bool { return status == http.StatusOK }
	r.decode = func(body []byte) (any, error) {
		w := new(wireAccount)
		if err := unmarshal(body, w); err != nil {
			return nil, err
		}
		if w.Account == nil || w.Account.Email == "" {
			return nil, contentErrorf("the account has no email")
		}
		return w, nil
	}
	value, err := c.read(ctx, r)
	if err != nil {
		return Account{}, err
	}
	w, ok := value.(*wireAccount)
	if !ok {
		return Account{}, c.malformed(r, "the answer is no account")
	}
	a := Account{
		Email:       w.Account.Email,
		FirstName:   w.Account.FirstName,
		LastName:    w.Account.LastName,
		CompanyName: w.Account.CompanyName,
		CreatedAt:   w.Account.CreatedAt.Time,
		TokenName:   w.Token.Name,
	}
	for _, p := range w.Token.Permissions {
		a.Permissions = append(a.Permissions, string(p))
	}
	return a, nil
}
