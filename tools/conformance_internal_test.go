//go:build conformance

package tools

import "context"

// Notify is how handlers here notify.
func Notify(ctx context.Context, method string, params map[string]any) error {
	return notify(ctx, method, params)
}
