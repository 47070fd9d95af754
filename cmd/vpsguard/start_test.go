package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// BenchmarkStartToInitialize measures from starting the process until initialize
// is answered. TESTED names the program to start, such as a stripped one; unless set
// it is the test binary, which starts more slowly.
func BenchmarkStartToInitialize(b *testing.B) {
	started := "vpsguard"
	if path := os.Getenv("TESTED"); path != "" {
		started = path
	}
	for name, args := range map[string][]string{"stdio": {"stdio"}, "sandbox": {"sandbox", "--stdio"}} {
		b.Run(name, func(b *testing.B) {
			env := append(bare(b), "VPSGUARD_API_TOKEN=x", "VPSGUARD_API_URL=http://127.0.0.1:1"+vpsfake.BasePath, "VPSGUARD_LOG_LEVEL=error")
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), started, args...)
				cmd.Env = env
				in, err := cmd.StdinPipe()
				require.NoError(b, err)
				out, err := cmd.StdoutPipe()
				require.NoError(b, err)
				require.NoError(b, cmd.Start())
				_, err = io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"b","version":"1"}}}`+"\n")
				require.NoError(b, err)
				_, err = bufio.NewReader(out).ReadString('\n')
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, in.Close())
				require.NoError(b, cmd.Wait())
				b.StartTimer()
			}
		})
	}
}
