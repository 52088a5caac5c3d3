Require Import Arith Lia.
Theorem sum_le a b c d : a <= b -> c <= d -> a + c <= b + d.
Proof. lia. Qed.
