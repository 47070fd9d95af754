package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// schemaOfServerJSON is what the MCP registry publishes for server.json. The copy in
// testdata is, but for its examples of package hosts, internal/validators/schemas/2025-12-11.json of the
// module github.com/modelcontextprotocol/registry v1.8.9 (Apache-2.0 and MIT).
const schemaOfServerJSON = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

// The version that is released next, or was released last; tagged with a v before it, which
// is how the Go toolchain writes it into the program.
const release = "0.1.0"

type (
	registryInput struct {
		Name        string `json:"name,omitempty"`
		Type        string `json:"type,omitempty"`
		Description string `json:"description,omitempty"`
		Format      string `json:"format,omitempty"`
		IsRequired  bool   `json:"isRequired,omitempty"`
		IsSecret    bool   `json:"isSecret,omitempty"`
		Default     string `json:"default,omitempty"`
		Placeholder string `json:"placeholder,omitempty"`
		Value       string `json:"value,omitempty"`
	}
	registryRepository struct {
		URL    string `json:"url"`
		Source string `json:"source"`
	}
	registryPackage struct {
		RegistryType         string            `json:"registryType"`
		Identifier           string            `json:"identifier"`
		RuntimeHint          string            `json:"runtimeHint"`
		RuntimeArguments     []registryInput   `json:"runtimeArguments"`
		PackageArguments     []registryInput   `json:"packageArguments"`
		Transport            map[string]string `json:"transport"`
		EnvironmentVariables []registryInput   `json:"environmentVariables"`
	}
	registryServer struct {
		Schema      string             `json:"$schema"`
		Name        string             `json:"name"`
		Title       string             `json:"title"`
		Description string             `json:"description"`
		Repository  registryRepository `json:"repository"`
		Version     string             `json:"version"`
		Packages    []registryPackage  `json:"packages"`
	}
)

// entry is our entry in the MCP registry: the image, as a client starts it.
func entry() registryServer {
	image := registryPackage{
		RegistryType: "oci", Identifier: "ghcr.io/vpsguard/vpsguard:" + release, RuntimeHint: "docker",
		// One ledger for all that start it, and for the host's terminal.
		RuntimeArguments: []registryInput{{Type: "named", Name: "--volume", Value: "vpsguard:/var/lib/vpsguard", Description: "Where requests and the audit are stored."}},
		PackageArguments: []registryInput{{Type: "positional", Value: "stdio"}},
		Transport:        map[string]string{"type": "stdio"},
	}
	for _, v := range variables() {
		in := registryInput{
			Name: v.Name, Description: v.About, Placeholder: v.Takes, Default: v.Default,
			IsSecret: v.Secret, IsRequired: v.Name == prefix+"API_TOKEN",
		}
		if v.Takes == "true or false" {
			in.Format = "boolean"
		}
		image.EnvironmentVariables = append(image.EnvironmentVariables, in)
	}
	return registryServer{
		Schema: schemaOfServerJSON, Name: "io.github.vpsguard/vpsguard", Title: "vpsguard",
		Description: "VPS.org snapshots and backups; nothing is overwritten or deleted before a person confirms it.",
		Repository:  registryRepository{URL: "https://github.com/vpsguard/vpsguard", Source: "github"},
		Version:     release, Packages: []registryPackage{image},
	}
}

func registrySchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "server.schema.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(schemaOfServerJSON, doc))
	schema, err := c.Compile(schemaOfServerJSON)
	require.NoError(t, err)
	return schema
}

// TestTheRegistryEntryFollowsTheConfig: server.json is made here, from what the program is.
func TestTheRegistryEntryFollowsTheConfig(t *testing.T) {
	raw, err := json.Marshal(entry())
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, raw, "", "  "))
	b.WriteByte('\n')
	path := filepath.Join("..", "..", "server.json")
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, b.String(), string(got), "run: make golden")

	secrets := 0
	for _, v := range entry().Packages[0].EnvironmentVariables {
		looks := strings.HasSuffix(v.Name, "_TOKEN") || strings.HasSuffix(v.Name, "_SECRET") || strings.HasSuffix(v.Name, "_KEY") || strings.HasSuffix(v.Name, "_PASSWORD") ||
			v.Name == "VPSGUARD_DATABASE" // with its password
		if assert.Equal(t, looks, v.IsSecret, "%s", v.Name) && looks {
			secrets++
			assert.Empty(t, v.Default, v.Name)
		}
	}
	assert.Positive(t, secrets)
}

func TestTheRegistryEntryIsAsTheRegistryWantsIt(t *testing.T) {
	schema := registrySchema(t)
	raw, err := os.ReadFile(filepath.Join("..", "..", "server.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(doc))
	for name, edit := range map[string]func(*registryServer){ // so that the schema is one
		"a description of more than 100 characters": func(s *registryServer) { s.Description = strings.Repeat("x", 101) },
		"a name without a namespace":                func(s *registryServer) { s.Name = "vpsguard" },
		"a repository that is no URL":               func(s *registryServer) { s.Repository.URL = "vps guard" },
		"a format that is none":                     func(s *registryServer) { s.Packages[0].EnvironmentVariables[0].Format = "duration" },
		"a transport that is none":                  func(s *registryServer) { s.Packages[0].Transport["type"] = "pigeon" },
		"an argument that is neither":               func(s *registryServer) { s.Packages[0].PackageArguments[0].Type = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := entry()
			edit(&s)
			raw, err := json.Marshal(s)
			require.NoError(t, err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			require.NoError(t, err)
			assert.Error(t, schema.Validate(doc))
		})
	}
}

// TestTheRegistryEntryHasTheVersionOfTheRelease: the changelog's newest release, or the next
// one as long as there is none.
func TestTheRegistryEntryHasTheVersionOfTheRelease(t *testing.T) {
	assert.Regexp(t, `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`, release, "semantic, and no range")
	raw, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
	require.NoError(t, err)
	for _, heading := range regexp.MustCompile(`(?m)^## \[?v?(\d\S*?)\]?( .*)?$`).FindAllStringSubmatch(string(raw), 1) {
		assert.Equal(t, release, heading[1])
	}
	if v := build().Version; regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(v) {
		assert.Equal(t, "v"+release, v)
	}
}

// TestTheImageSaysWhichEntryIsItsOwn: the registry looks for this label.
func TestTheImageSaysWhichEntryIsItsOwn(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	require.NoError(t, err)
	assert.Contains(t, string(raw), `LABEL io.modelcontextprotocol.server.name="`+entry().Name+`"`)
	assert.Contains(t, string(raw), `VOLUME ["/var/lib/vpsguard"]`)
}
