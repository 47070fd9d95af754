package slackfake

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// blocks checks a list of blocks.
func (c *check) blocks(items []any, most int, at string) {
	if len(items) > most {
		c.add(at, "no more than %d items allowed", most)
	}
	for i, item := range items {
		here := at + "/" + strconv.Itoa(i)
		c.actionIDs = map[string]bool{}
		if m, ok := item.(map[string]any); ok {
			id := text(m, "block_id")
			if id != "" && c.blockIDs[id] {
				c.add(here+"/block_id", "`block_id` already exists: %s", id)
			}
			c.blockIDs[id] = true
		}
		oneType(func() map[string]shape { return blockShapes })(c, item, here)
	}
}

func newCheck(modal bool) *check {
	return &check{modal: modal, blockIDs: map[string]bool{}, counts: map[string]int{}}
}

// checkMessage checks the blocks of a message and returns a copy of them.
func checkMessage(items []any) ([]map[string]any, problems) {
	c := newCheck(false)
	c.blocks(items, 50, "/blocks")
	return objects(any(copyJSON(items))), c.problems
}

// CheckMessage tells what Slack would say of the blocks of a message, given as JSON;
// nil is nothing.
func CheckMessage(blocks []byte) []string {
	var items []any
	if err := json.Unmarshal(blocks, &items); err != nil {
		return []string{fmt.Sprintf("invalid_blocks_format: %v", err)}
	}
	_, wrong := checkMessage(items)
	return wrong
}

// CheckView tells what Slack would say of a view, given as JSON; nil is nothing.
func CheckView(v []byte) []string {
	var m map[string]any
	if err := json.Unmarshal(v, &m); err != nil {
		return []string{fmt.Sprintf("invalid_json: %v", err)}
	}
	return checkView(m)
}

// textLength adds up all texts of a block.
func textLength(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			if s, ok := x.(string); ok && key == "text" {
				n += chars(s)
			} else {
				n += textLength(x)
			}
		}
	case []any:
		for _, x := range v {
			n += textLength(x)
		}
	}
	return n
}
