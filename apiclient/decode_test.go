package apiclient

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzDecodeList(f *testing.F) {
	for _, name := range []string{"snapshots_list", "backups_list", "snapshot_created"} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{`[]`, `{"results":null}`, `[{"id":1.5}]`, `[{"id":1}]x`, `{"results":[{"id":9223372036854775808}]}`, `[{"id":1,"created_at":"2024-06-15"}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		check(t, body, decodePage[wireSnapshot])
		check(t, body, decodePage[wireBackup])
		check(t, body, decodePage[wireServer])
	})
}

func check[R row](t *testing.T, body []byte, decode func([]byte) (*page[R], error)) {
	t.Helper()
	p, err := decode(body)
	if err != nil {
		if len(err.Error()) > 400 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
		return
	}
	for _, r := range p.rows {
		if r.ident() <= 0 {
			t.Fatalf("id %d", r.ident())
		}
	}
}

func FuzzClean(f *testing.F) {
	const token = "vps_0123456789abcdef"
	clean := newCleaner(token)
	f.Add("x" + token)
	f.Add(strings.Repeat("ä", 400))
	f.Add("vps_0123\u200b456789abcdef\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		switch {
		case !utf8.ValidString(got):
			t.Fatalf("invalid: %q", got)
		case utf8.RuneCountInString(got) > maxMessage:
			t.Fatalf("%d code points", utf8.RuneCountInString(got))
		case strings.Contains(strings.ToLower(got), token[4:12]):
			t.Fatalf("a piece of the token: %q", got)
		case strings.ContainsFunc(got, func(r rune) bool { return unicode.In(r, unicode.C) }):
			t.Fatalf("invisible: %q", got)
		}
	})
}

func thousand() []byte {
	var b strings.Builder
	b.WriteString(`{"count":1000,"results":[`)
	for i := range 1000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"server":{"id":12345,"name":"web-server-01"},"name":"weekly-snapshot-%d","status":"completed","size_mb":5120,"created_at":"2025-01-15T18:30:00Z","description":"Weekly snapshot"}`, i+1, i)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

func BenchmarkDecodeListOf1000(b *testing.B) {
	body := thousand()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodePage[wireSnapshot](body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCleanMessage(b *testing.B) {
	clean := newCleaner("vps_0123456789abcdef0123456789abcdef")
	text := strings.Repeat("Something went wrong. ", 3000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		clean(text)
	}
}
