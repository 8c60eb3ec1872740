package sixfold

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// bodyError is what went wrong with a body, told without a byte of it: the texts of encoding/json and of what it
// calls quote numbers and strings, and errors are logged. Unwrap has the error itself, for whoever keeps the body
// as well.
type bodyError struct{ err error }

func (e bodyError) Unwrap() error { return e.err }

func (e bodyError) Error() string {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(e.err, &syntax):
		return fmt.Sprintf("it is not valid JSON at byte %d", syntax.Offset)
	case errors.As(e.err, &typ):
		kind, _, _ := strings.Cut(typ.Value, " ") // "number 4711"
		field := typ.Field
		if field == "" {
			field = "the body"
		}
		return fmt.Sprintf("%s is a JSON %s at byte %d, which does not fit into a Go %s", field, kind, typ.Offset, typ.Type)
	}
	return fmt.Sprintf("a %T, not shown because it may quote the body", e.err)
}

// hideBody hides the text of errors that are known to quote what they could not read. Others are somebody's own words.
func hideBody(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	var at *time.ParseError
	var num *strconv.NumError
	if errors.As(err, &syntax) || errors.As(err, &typ) || errors.As(err, &at) || errors.As(err, &num) {
		return bodyError{err}
	}
	return err
}
