// Error exit from the module: raises an error with a message in JavaScript.
#pragma once

extern "C" [[noreturn]] __attribute__((import_module("intact"), import_name("fail"))) void intact_fail(
    const char* message);
