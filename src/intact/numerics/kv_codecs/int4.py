"""Keys and values of 4 bits, a scale a vector."""

from intact.numerics.kv_codecs.definition import KvCodec

INT4 = KvCodec("int4", "keys and values of 4 bits, rotated", key_bits=4, value_bits=4)
