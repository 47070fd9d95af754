package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"
)

// built says what this program was made from.
type built struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// build reads what the Go toolchain wrote into the program.
var build = sync.OnceValue(func() built {
	b := built{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
})

func (p *program) versionCommand() *cobra.Command {
	c := p.command("version", "Say which version this is", "", "  vpsguard version\n  vpsguard version --output json", noArguments)
	out := outputFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		b := build()
		if out.json() {
			return p.printJSON(b)
		}
		text := fmt.Sprintf("vpsguard %s, %s, %s", b.Version, b.Go, b.Platform)
		if b.Commit != "" {
			text += ", commit " + b.Commit
		}
		if b.Modified {
			text += ", modified"
		}
		return p.printf("%s\n", text)
	}
	return c
}
