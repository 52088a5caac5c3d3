% Addition and multiplication of natural numbers by recursion; the goals are proved by induction:
%   intact deduce examples/peano.p --depth 4 --induction zero,s --html peano.html
fof(add_zero, axiom, ![X]: add(X, zero) = X).
fof(add_s, axiom, ![X, Y]: add(X, s(Y)) = s(add(X, Y))).
fof(mul_zero, axiom, ![X]: mul(X, zero) = zero).
fof(mul_s, axiom, ![X, Y]: mul(X, s(Y)) = add(mul(X, Y), X)).

% lemmas
fof(zero_add, conjecture, ![V]: add(zero, V) = add(V, zero)).
fof(s_add, conjecture, ![A, B]: add(s(A), B) = s(add(A, B))).
fof(one_add, conjecture, ![V]: s(V) = add(s(zero), V)).
fof(add_swap, conjecture, ![A, B, C]: add(add(A, B), C) = add(add(A, C), B)).
fof(zero_mul, conjecture, ![V]: mul(zero, V) = mul(V, zero)).
fof(s_mul, conjecture, ![A, B]: mul(s(A), B) = add(mul(A, B), B)).

% laws
fof(add_commutes, conjecture, ![A, B]: add(A, B) = add(B, A)).
fof(add_associates, conjecture, ![A, B, C]: add(add(A, B), C) = add(A, add(B, C))).
fof(mul_commutes, conjecture, ![A, B]: mul(A, B) = mul(B, A)).
fof(mul_distributes, conjecture, ![A, B, C]: mul(A, add(B, C)) = add(mul(A, B), mul(A, C))).
fof(mul_distributes_right, conjecture, ![A, B, C]: mul(add(A, B), C) = add(mul(A, C), mul(B, C))).
fof(mul_associates, conjecture, ![A, B, C]: mul(mul(A, B), C) = mul(A, mul(B, C))).
