// Package flow tests package saga/flow on real databases.
package flow
