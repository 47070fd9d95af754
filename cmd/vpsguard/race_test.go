//go:build race

package main

// raced tells that the race detector runs, under which a minute's work takes ten.
const raced = true
