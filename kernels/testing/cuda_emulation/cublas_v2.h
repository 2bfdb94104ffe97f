// What error.h needs of cuBLAS, for the stand-in: cublasLt.h.
#pragma once

#include "cublasLt.h"
