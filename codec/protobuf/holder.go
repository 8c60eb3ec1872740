package protobuf

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/sixfold-go/sixfold"
)

var messageType = reflect.TypeFor[proto.Message]()

const holderRule = "let the message be a struct that embeds the pointer to the generated type, and nothing else"

// within finds the generated message in a message value: the value itself, or what the struct holds.
func within(v any) (proto.Message, error) {
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer && !value.IsNil() && value.Elem().Kind() == reflect.Struct {
		if m, ok := v.(proto.Message); ok && isGenerated(value.Type()) {
			return m, nil
		}
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%w type: it holds no Protocol Buffer; %s", sixfold.ErrInvalid, holderRule)
	}
	i, err := held(value.Type())
	if err != nil {
		return nil, err
	}
	if value.Field(i).IsNil() {
		return nil, fmt.Errorf("%w value: its %s is nil; give it a message", sixfold.ErrInvalid, value.Type().Field(i).Name)
	}
	return value.Field(i).Interface().(proto.Message), nil
}

// fresh makes a new generated message for what v points to. keep puts it there.
func fresh(v any) (m proto.Message, keep func(), err error) {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return nil, nil, fmt.Errorf("%w target: it is no pointer to a message; pass one", sixfold.ErrInvalid)
	}
	into := target.Elem()
	switch {
	case isGenerated(into.Type()): // a pointer to a pointer
	case into.Kind() == reflect.Struct && !isGenerated(target.Type()):
		i, err := held(into.Type())
		if err != nil {
			return nil, nil, err
		}
		into = into.Field(i)
	case isGenerated(target.Type()):
		m := target.Interface().(proto.Message)
		proto.Reset(m)
		return m, func() {}, nil
	default:
		return nil, nil, fmt.Errorf("%w type: it holds no Protocol Buffer; %s", sixfold.ErrInvalid, holderRule)
	}
	made := reflect.New(into.Type().Elem())
	return made.Interface().(proto.Message), func() { into.Set(made) }, nil
}

// isGenerated reports whether t is the pointer to a generated type. A struct that embeds one implements proto.Message too, by its
// promoted method, so what that method describes is compared.
func isGenerated(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || !t.Implements(messageType) {
		return false
	}
	_, promoted := promotes(t.Elem())
	return !promoted
}

// promotes finds the embedded field through which a struct implements proto.Message.
func promotes(t reflect.Type) (index int, ok bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type.Implements(messageType) {
			return i, true
		}
	}
	return 0, false
}

// held is the index of the one field that holds a generated message. Everything else would not travel, but for fields without a size, such
// as sixfold.Returns.
func held(t reflect.Type) (int, error) {
	at := -1
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Type.Size() == 0:
		case f.IsExported() && isGenerated(f.Type) && at < 0:
			at = i
		default:
			return 0, fmt.Errorf("%w type: its field %s would not travel; %s", sixfold.ErrInvalid, f.Name, holderRule)
		}
	}
	if at < 0 {
		return 0, fmt.Errorf("%w type: it holds no Protocol Buffer; %s", sixfold.ErrInvalid, holderRule)
	}
	return at, nil
}
