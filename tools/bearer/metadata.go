package bearer

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// Mount serves where clients find the issuer (RFC 9728): below the well-known path of the
// resource, and at the root for clients that look there only. Without an issuer it does nothing.
func (g *Guard) Mount(mux *http.ServeMux) {
	if g.Issuer == nil {
		return
	}
	h := server.NewProtectedResourceMetadataHandler(server.ProtectedResourceMetadataConfig{
		Resource: g.Resource, AuthorizationServers: []string{g.Issuer.URL}, ScopesSupported: []string{ScopeRead, ScopeOperate},
		BearerMethodsSupported: []string{"header"}, ResourceName: "vpsguard",
	})
	mux.Handle(server.WellKnownProtectedResourcePath, h)
	mux.Handle(server.ProtectedResourceMetadataPath(g.Resource), h)
}

// metadataURL is where a challenge sends clients.
func (g *Guard) metadataURL() string {
	u, err := url.Parse(g.Resource)
	if err != nil {
		return g.Resource
	}
	u.Path = server.ProtectedResourceMetadataPath(g.Resource)
	return u.String()
}

// Insufficient answers a call that the caller's scopes do not reach, with the scope to come
// back with. Other callers have none to ask for: it leaves those to the door, and says false.
func (g *Guard) Insufficient(w http.ResponseWriter, r *http.Request) bool {
	a, _ := From(r.Context())
	if !strings.HasPrefix(a.Subject, "oidc:") || a.Role != policy.RoleRead {
		return false
	}
	g.refuse(w, *insufficient(ScopeOperate))
	return true
}
