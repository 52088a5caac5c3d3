"""Keys and values with 8 bits and one scale per vector."""

from intact.numerics.kv_codecs.definition import KvCodec

INT8 = KvCodec("int8", "keys and values of 8 bits, rotated", key_bits=8, value_bits=8)
